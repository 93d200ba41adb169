//! Configurations compared over a sweep of loads: times as clients see them, goodput, evenness and cache hits.
//!
//! Must not know flags or how results are shown.

use serde::Serialize;

use super::bounds::{self, Bounds};
use super::experiment;
use super::plan::Plan;
use super::tally::Outcome;
use super::tempo::{Demand, Tempo};
use super::trace::Recorded;

/// A configuration, and how many replicas decide by it.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Its name in tables.
    pub name: String,
    /// The text of its `EndpointPickerConfig`.
    pub config: String,
    /// Replicas.
    pub replicas: usize,
}

/// One pace of the sweep.
#[derive(Clone, Copy, Debug)]
pub enum At {
    /// The share of what the engines can compute if each repeated block is cached.
    Load(f64),
    /// Times faster than recorded.
    Speed(f64),
}

/// What all configurations did at one pace, over all seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// The load.
    pub load: f64,
    /// Times faster than recorded.
    pub speed: f64,
    /// What the times are measured against.
    pub bounds: Bounds,
    /// One for each configuration, in their order.
    pub entries: Vec<Entry>,
}

/// What one configuration did at one pace: means over the seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// The configuration.
    pub name: String,
    /// Replicas.
    pub replicas: usize,
    /// The means.
    pub mean: Figures,
    /// One outcome for each seed.
    pub seeds: Vec<Outcome>,
}

/// Figures of one run, or their means.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Figures {
    /// The share of prompt tokens found in caches.
    pub hit: f64,
    /// Mean time to the first token, seconds.
    pub ttft_s: f64,
    /// Its 99th percentile.
    pub ttft_p99_s: f64,
    /// Mean time for each further token, seconds.
    pub tpot_s: f64,
    /// Its 99th percentile over requests.
    pub tpot_p99_s: f64,
    /// Mean time from arrival to the last token, seconds.
    pub e2e_s: f64,
    /// Its 99th percentile.
    pub e2e_p99_s: f64,
    /// The share of requests within the limits of [`super::tally::TTFT_LIMIT`].
    pub goodput: f64,
    /// Standard deviation by mean of requests over engines.
    pub load_cov: f64,
    /// Requests that did not end.
    pub unfinished: f64,
}

/// Runs all configurations at all paces.
///
/// # Errors
/// All errors of a configuration.
pub fn run(
    plan: &Plan,
    configurations: &[Configuration],
    paces: &[At],
    seeds: u64,
    jitter: bool,
    trace: &[Recorded],
) -> Result<Vec<Point>, String> {
    let demand = Demand::of(trace);
    let point = |at: &At| {
        let speed = match *at {
            At::Load(load) => demand.speed(&plan.engine, plan.engines, load),
            At::Speed(speed) => speed,
        };
        let mut seen: Vec<Vec<Outcome>> = vec![Vec::new(); configurations.len()];
        let mut bounds = Vec::new();
        for seed in (0..seeds).map(|n| plan.seed + n) {
            let tempo = Tempo::new(trace, speed, jitter, seed);
            let plans = configurations.iter().map(|one| Plan {
                replicas: one.replicas,
                config: one.config.clone(),
                seed,
                ..plan.clone()
            });
            let outcomes = experiment::all(&plans.collect::<Vec<_>>(), trace, &tempo)?;
            seen.iter_mut().zip(outcomes).for_each(|(seen, outcome)| seen.push(outcome));
            bounds.push(bounds::of(&plan.engine, plan.engines, trace, &tempo));
        }
        let entries = configurations.iter().zip(seen).map(|(one, seeds)| Entry {
            name: one.name.clone(),
            replicas: one.replicas,
            mean: Figures::mean(&seeds),
            seeds,
        });
        let load = demand.load(&plan.engine, plan.engines, speed);
        Ok(Point { load, speed, bounds: Bounds::mean(&bounds), entries: entries.collect() })
    };
    paces.iter().map(point).collect()
}

// === impl Figures ===

impl Figures {
    /// Those of one run.
    pub fn of(outcome: &Outcome) -> Self {
        Self {
            hit: outcome.hit,
            ttft_s: outcome.ttft_mean_s,
            ttft_p99_s: outcome.ttft_p99_s,
            tpot_s: outcome.tpot_mean_s,
            tpot_p99_s: outcome.tpot_p99_s,
            e2e_s: outcome.e2e_mean_s,
            e2e_p99_s: outcome.e2e_p99_s,
            goodput: outcome.goodput,
            load_cov: outcome.load_cov,
            unfinished: outcome.unfinished as f64,
        }
    }

    fn mean(outcomes: &[Outcome]) -> Self {
        let all: Vec<Self> = outcomes.iter().map(Self::of).collect();
        let mean = |value: fn(&Self) -> f64| all.iter().map(value).sum::<f64>() / all.len().max(1) as f64;
        Self {
            hit: mean(|one| one.hit),
            ttft_s: mean(|one| one.ttft_s),
            ttft_p99_s: mean(|one| one.ttft_p99_s),
            tpot_s: mean(|one| one.tpot_s),
            tpot_p99_s: mean(|one| one.tpot_p99_s),
            e2e_s: mean(|one| one.e2e_s),
            e2e_p99_s: mean(|one| one.e2e_p99_s),
            goodput: mean(|one| one.goodput),
            load_cov: mean(|one| one.load_cov),
            unfinished: mean(|one| one.unfinished),
        }
    }
}
