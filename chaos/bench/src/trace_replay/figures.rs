//! The figures that the project must reach: each is a row with its bar, over several seeds.
//!
//! Must not know how a run works. A row passes if the mean over its seeds does; the worst seed is shown too.

use std::path::Path;

use murmuration_actors::text_table::{self, left, right};
use serde::Serialize;

use super::args::Figures;
use super::experiment;
use super::plan::{self, Plan, Sharing, Way};
use super::price::{self, Traffic};
use super::tally::Outcome;
use super::tempo::{Demand, Tempo};
use super::trace::{self, Recorded};
use super::workload::{self, Workload};

/// The load of the rows with the conversation trace.
const LOAD: f64 = 0.66;
/// The load of the rows with agents: they are few and long, so engines are used less evenly.
const AGENTS_LOAD: f64 = 0.46;

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What is measured.
    pub what: String,
    /// The bar; `None` where the figure is only reported.
    pub bar: Option<Bar>,
    /// One value for each seed.
    pub values: Vec<f64>,
    /// Their mean.
    pub mean: f64,
    /// Whether the mean reaches the bar; `None` where there is none.
    pub pass: Option<bool>,
}

/// What a figure must reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bar {
    /// This much or more.
    AtLeast(f64),
    /// This much or less.
    AtMost(f64),
}

/// One workload at one pace, for all seeds.
struct Scene<'a> {
    trace: &'a [Recorded],
    seeds: u64,
    jitter: bool,
    speed: f64,
}

/// Runs all rows.
///
/// # Errors
/// A sentence for people.
pub fn run(flags: &Figures) -> Result<Vec<Row>, String> {
    let (seeds, chat, agentic) = traffic(flags)?;
    let at = |trace: &[Recorded], load| Demand::of(trace).speed(&plan::usual().engine, plan::usual().engines, load);
    let scene = |trace, jitter, speed| Scene { trace, seeds, jitter, speed };
    let mut rows = Vec::new();
    conversation(&scene(&chat, true, at(&chat, LOAD)), &mut rows)?;
    verbatim(&scene(&chat, false, at(&chat, LOAD)), &mut rows)?;
    without_streams(&scene(&agentic, false, at(&agentic, AGENTS_LOAD)), &mut rows)?;
    price::hot_prefix(&workload::generate(Workload::Hot, 1), seeds, &mut rows)?;
    Ok(rows)
}

/// Runs all rows of the default configuration against others.
///
/// # Errors
/// A sentence for people.
pub fn price(flags: &Figures) -> Result<Vec<Row>, String> {
    let (seeds, chat, agentic) = traffic(flags)?;
    let mut rows = Vec::new();
    let azure = [("Azure code", "code"), ("Azure conversation", "conv")].into_iter().filter_map(|(name, file)| {
        let path = flags.traces.join(format!("azure2023/AzureLLMInferenceTrace_{file}.csv"));
        path.exists().then(|| Ok((name, trace::read(&path, flags.quick.then_some(2500))?)))
    });
    let azure = azure.collect::<Result<Vec<_>, String>>()?;
    priced(&chat, &agentic, &azure, seeds, &mut rows)?;
    Ok(rows)
}

/// Seeds, conversations and agents.
fn traffic(flags: &Figures) -> Result<(u64, Vec<Recorded>, Vec<Recorded>), String> {
    let seeds = if flags.quick { 1 } else { 3 };
    let limit = if flags.quick { 2500 } else { usize::MAX };
    let chat = requests(&flags.traces.join("mooncake/conversation_trace.jsonl"), Workload::Chat, limit)?;
    let agentic =
        requests(&flags.traces.join("claude-code/claude_code_mix_512tok.jsonl"), Workload::Agentic, usize::MAX)?;
    Ok((seeds, chat, agentic))
}

/// The default configuration against others.
fn priced(
    chat: &[Recorded],
    agentic: &[Recorded],
    azure: &[(&'static str, Vec<Recorded>)],
    seeds: u64,
    rows: &mut Vec<Row>,
) -> Result<(), String> {
    let conversation = |engines, loads| Traffic { name: "conversation", trace: chat, jitter: true, engines, loads };
    let bar = |load, bar| (load, Some(bar));
    let loads = [bar(0.3, 0.80), bar(0.5, 0.70), bar(0.66, 0.62), bar(0.8, 0.62), bar(0.9, 0.62)];
    price::rows(&conversation(16, &loads), seeds, rows)?;
    let usual = [bar(LOAD, 0.62)];
    for engines in [4, 64] {
        price::rows(&conversation(engines, &usual), seeds, rows)?;
    }
    let without_bar = [(LOAD, None)];
    let bursts = Traffic { name: "verbatim bursts", jitter: false, ..conversation(16, &without_bar) };
    price::rows(&bursts, seeds, rows)?;
    let loads = [bar(0.2, 0.72), bar(0.33, 0.66), bar(AGENTS_LOAD, 0.56), bar(0.53, 0.58)];
    let agents = Traffic { name: "agents", trace: agentic, jitter: true, engines: 16, loads: &loads };
    price::rows(&agents, seeds, rows)?;
    for (name, trace) in azure {
        let loads = [(0.5, None), (0.8, None)];
        price::rows(&Traffic { name, trace, jitter: false, engines: 16, loads: &loads }, seeds, rows)?;
    }
    Ok(())
}

fn requests(path: &Path, workload: Workload, limit: usize) -> Result<Vec<Recorded>, String> {
    if path.exists() { trace::read(path, Some(limit)) } else { Ok(workload::generate(workload, 1)) }
}

fn conversation(scene: &Scene<'_>, rows: &mut Vec<Row>) -> Result<(), String> {
    let lossy = |plan: &Plan| Plan { loss: 0.01, ..plan.clone() };
    let runs = scene.runs(&[&Plan::clone, &Plan::oracle, &lossy, &by(Sharing::Gossip), &by(Sharing::Cut)])?;
    let what = |what: &str| format!("conversation, 66 % load: {what}");
    rows.push(Row::new(what("hit / oracle"), Some(Bar::AtLeast(0.98)), &runs, |run| run[0].hit / run[1].hit));
    rows.push(Row::new(what("mean TTFT / oracle"), Some(Bar::AtMost(1.05)), &runs, |run| ttft(&run[0], &run[1])));
    rows.push(Row::new(what("1 % loss, mean TTFT / lossless"), Some(Bar::AtMost(1.02)), &runs, |run| {
        ttft(&run[2], &run[0])
    }));
    let (agree, quiet, equal) =
        ("agreement under full load", "agreement after 1 s of quiet", "agreement on equal views");
    rows.push(Row::new(what(agree), None, &runs, |run| run[0].agreement.unwrap_or(0.0)));
    rows.push(Row::new(what(quiet), Some(Bar::AtLeast(0.99)), &runs, |run| run[0].agreement_quiet.unwrap_or(0.0)));
    rows.push(Row::new(what(equal), Some(Bar::AtLeast(1.0)), &runs, |run| run[0].agreement_equal.unwrap_or(0.0)));
    let gossip = what("gossip alone, mean TTFT / oracle");
    rows.push(Row::new(gossip, Some(Bar::AtMost(1.15)), &runs, |run| ttft(&run[3], &run[1])));
    let cut = what("no lane at all, hit / oracle");
    rows.push(Row::new(cut, Some(Bar::AtLeast(0.80)), &runs, |run| run[4].hit / run[1].hit));
    Ok(())
}

fn verbatim(scene: &Scene<'_>, rows: &mut Vec<Row>) -> Result<(), String> {
    let runs = scene.runs(&[&Plan::clone, &Plan::oracle])?;
    let what = |what: &str| format!("verbatim bursts, 66 % load: {what}");
    rows.push(Row::new(what("mean TTFT / oracle"), Some(Bar::AtMost(1.3)), &runs, |run| ttft(&run[0], &run[1])));
    rows.push(Row::new(what("agreement in the burst"), None, &runs, |run| run[0].agreement.unwrap_or(0.0)));
    Ok(())
}

/// Agents with gossip alone, and without any lane.
fn without_streams(scene: &Scene<'_>, rows: &mut Vec<Row>) -> Result<(), String> {
    let runs = scene.runs(&[&by(Sharing::Gossip), &Plan::oracle, &by(Sharing::Cut)])?;
    let what = |what: &str| format!("agents, {:.0} % load: {what}", AGENTS_LOAD * 100.0);
    let gossip = what("gossip alone, mean TTFT / oracle");
    rows.push(Row::new(gossip, Some(Bar::AtMost(1.15)), &runs, |run| ttft(&run[0], &run[1])));
    let cut = what("no lane at all, hit / oracle");
    rows.push(Row::new(cut, Some(Bar::AtLeast(0.80)), &runs, |run| run[2].hit / run[1].hit));
    Ok(())
}

fn by(sharing: Sharing) -> impl Fn(&Plan) -> Plan {
    move |plan| plan.by(Way::Schedulers(sharing))
}

fn ttft(one: &Outcome, other: &Outcome) -> f64 {
    one.ttft_mean_s / other.ttft_mean_s.max(1e-9)
}

/// The rows as a table.
pub fn table(rows: &[Row]) -> String {
    let row = |row: &Row| {
        let (bar, worst) = match row.bar {
            Some(Bar::AtLeast(bar)) => (format!(">= {bar}"), row.values.iter().copied().fold(f64::MAX, f64::min)),
            Some(Bar::AtMost(bar)) => (format!("<= {bar}"), row.values.iter().copied().fold(f64::MIN, f64::max)),
            None => ("-".to_owned(), row.mean),
        };
        let verdict = row.pass.map_or("", |pass| if pass { "PASS" } else { "miss" });
        [row.what.clone(), bar, format!("{:.3}", row.mean), format!("{worst:.3}"), verdict.to_owned()]
    };
    let columns = [left(""), right("bar"), right("mean"), right("worst"), left("")];
    text_table::table(&columns, &rows.iter().map(row).collect::<Vec<_>>())
}

// === impl Scene ===

impl Scene<'_> {
    /// Runs the plan in all `ways`, for each seed.
    fn runs(&self, ways: &[&dyn Fn(&Plan) -> Plan]) -> Result<Vec<Vec<Outcome>>, String> {
        (1..=self.seeds).map(|seed| self.seed(seed, ways)).collect()
    }

    fn seed(&self, seed: u64, ways: &[&dyn Fn(&Plan) -> Plan]) -> Result<Vec<Outcome>, String> {
        let plan = Plan { seed, ..plan::usual() };
        let plans: Vec<Plan> = ways.iter().map(|way| way(&plan)).collect();
        experiment::all(&plans, self.trace, &Tempo::new(self.trace, self.speed, self.jitter, seed))
    }
}

// === impl Row ===

impl Row {
    fn new(what: String, bar: Option<Bar>, runs: &[Vec<Outcome>], value: impl Fn(&[Outcome]) -> f64) -> Self {
        Self::of(what, bar, runs.iter().map(|run| value(run)).collect())
    }

    /// A figure with one value for each seed.
    pub(super) fn of(what: String, bar: Option<Bar>, values: Vec<f64>) -> Self {
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        let pass = bar.map(|bar| match bar {
            Bar::AtLeast(bar) => mean >= bar,
            Bar::AtMost(bar) => mean <= bar,
        });
        Self { what, bar, values, mean, pass }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_over_seeds_is_held_to_the_bar() {
        let run = |hit| vec![Outcome { hit, ..Outcome::default() }];
        let row = |bar| Row::new("hit".into(), bar, &[run(0.5), run(1.0)], |run| run[0].hit);
        assert_eq!(row(Some(Bar::AtLeast(0.75))).pass, Some(true));
        assert_eq!(row(Some(Bar::AtMost(0.7))).pass, Some(false));
        assert_eq!(row(None).pass, None);
        assert!(table(&[row(Some(Bar::AtMost(0.7)))]).contains("0.750  1.000  miss"));
    }
}
