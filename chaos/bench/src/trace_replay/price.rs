//! The figures of the default configuration against llm-d's default and a configuration that was tuned by hand: what
//! clients see, over loads, kinds of traffic and sizes of the pool.
//!
//! Must not know how a run works.

use super::compare::{self, At, Configuration, Figures, Point};
use super::figures::{Bar, Row};
use super::plan::{self, Plan};
use super::trace::Recorded;

/// The configuration that was tuned by hand, in deploy/config.
const TUNED: &str = include_str!("../../../../deploy/config/prefix-and-load.yaml");
/// Replicas that decide by the default configuration. llm-d's pickers are one each: what one knows, all know.
const REPLICAS: usize = 8;

/// The configurations, in the order of [`Point::entries`].
const LLM_D: usize = 0;
const TUNED_BY_HAND: usize = 1;
const DEFAULT: usize = 2;
const ORACLE: usize = 3;

/// Traffic for these figures.
pub(super) struct Traffic<'a> {
    /// Its name in rows.
    pub(super) name: &'static str,
    /// The requests.
    pub(super) trace: &'a [Recorded],
    /// Whether requests that were recorded at one instant are spread.
    pub(super) jitter: bool,
    /// Engines.
    pub(super) engines: usize,
    /// The loads, each with the most that the mean time to the first token may be, relative to llm-d's default.
    pub(super) loads: &'a [(f64, Option<f64>)],
}

/// The rows of `traffic`, over so many seeds.
///
/// # Errors
/// A sentence for people.
pub(super) fn rows(traffic: &Traffic<'_>, seeds: u64, rows: &mut Vec<Row>) -> Result<(), String> {
    let plan = Plan { engines: traffic.engines, ..plan::usual() };
    let paces: Vec<At> = traffic.loads.iter().map(|(load, _)| At::Load(*load)).collect();
    let points = compare::run(&plan, &configurations(), &paces, seeds, traffic.jitter, traffic.trace)?;
    for (point, (load, bar)) in points.iter().zip(traffic.loads) {
        at_load(traffic, point, *load, *bar, rows);
    }
    Ok(())
}

fn at_load(traffic: &Traffic<'_>, point: &Point, load: f64, bar: Option<f64>, rows: &mut Vec<Row>) {
    let head = format!("{}, {} engines, {:.0} % load", traffic.name, traffic.engines, load * 100.0);
    let mut row = |what: &str, bar: Option<Bar>, value: &dyn Fn(&[Figures]) -> f64| {
        let seeds = point.entries.first().map_or(0, |entry| entry.seeds.len());
        let of = |seed: usize| point.entries.iter().map(|entry| Figures::of(&entry.seeds[seed])).collect::<Vec<_>>();
        rows.push(Row::of(format!("{head}: {what}"), bar, (0..seeds).map(|seed| value(&of(seed))).collect()));
    };
    row("mean TTFT / llm-d's default", bar.map(Bar::AtMost), &|all| all[DEFAULT].ttft_s / all[LLM_D].ttft_s);
    row("TTFT p99 / tuned by hand", Some(Bar::AtMost(1.0)), &|all| {
        all[DEFAULT].ttft_p99_s / all[TUNED_BY_HAND].ttft_p99_s
    });
    row("time to the last token / the better of both", Some(Bar::AtMost(1.02)), &|all| {
        all[DEFAULT].e2e_s / all[LLM_D].e2e_s.min(all[TUNED_BY_HAND].e2e_s)
    });
    row("goodput / the better of both", Some(Bar::AtLeast(1.0)), &|all| {
        all[DEFAULT].goodput / all[LLM_D].goodput.max(all[TUNED_BY_HAND].goodput)
    });
    row("mean TTFT / one picker that knows all", Some(Bar::AtMost(if traffic.jitter { 1.02 } else { 1.1 })), &|all| {
        all[DEFAULT].ttft_s / all[ORACLE].ttft_s
    });
    let (alone, central) = (point.bounds.alone_s, point.bounds.central_s);
    row("mean TTFT / without any queue", None, &|all| all[DEFAULT].ttft_s / alone);
    row("mean TTFT / one queue before all engines", None, &|all| all[DEFAULT].ttft_s / central);
}

fn configurations() -> Vec<Configuration> {
    let one = |name: &str, config: &str, replicas| Configuration { name: name.into(), config: config.into(), replicas };
    let default = murmuration::config::default_text();
    vec![
        one("llm-d", murmuration::config::llm_d_text(), 1),
        one("tuned", TUNED, 1),
        one("default", default, REPLICAS),
        one("oracle", default, 1),
    ]
}

/// One prompt that nine of ten requests begin with must not make a queue before the engine that held it first.
///
/// # Errors
/// A sentence for people.
pub(super) fn hot_prefix(trace: &[Recorded], seeds: u64, rows: &mut Vec<Row>) -> Result<(), String> {
    let plan = plan::usual();
    let points = compare::run(&plan, &configurations()[DEFAULT..ORACLE], &[At::Load(0.8)], seeds, true, trace)?;
    for entry in points.iter().flat_map(|point| &point.entries) {
        let what = "one prefix for 90 % of requests, 16 engines, 80 % load: longest queue / mean".to_owned();
        let values = entry.seeds.iter().map(|outcome| outcome.longest_by_mean).collect();
        rows.push(Row::of(what, Some(Bar::AtMost(1.5)), values));
    }
    Ok(())
}
