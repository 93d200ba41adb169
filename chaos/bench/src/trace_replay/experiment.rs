//! Several runs of one trace: the tier itself, the oracle, and the baselines.
//!
//! Must not know flags or how results are shown. Runs are independent, so they may run in parallel.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;

use super::plan::{Plan, Sharing, Way};
use super::simulation;
use super::tally::Outcome;
use super::tempo::Tempo;
use super::trace::Recorded;

/// The most runs in parallel; each holds its own engines' prompts.
const AT_ONCE: usize = 4;

/// A tier compared with others.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The results of the tier.
    #[serde(flatten)]
    pub replication: Outcome,
    /// One replica that knows everything at once.
    pub oracle: Outcome,
    /// Other ways, by name.
    pub baselines: BTreeMap<&'static str, Outcome>,
}

/// The ways that a tier is compared with.
pub const BASELINES: [(&str, Way); 4] = [
    ("round-robin", Way::RoundRobin),
    ("nothing-shared", Way::Schedulers(Sharing::None)),
    ("cache-only", Way::Schedulers(Sharing::CacheOnly)),
    ("load-only", Way::Schedulers(Sharing::LoadOnly)),
];

/// Runs the plan, the oracle and, if `baselines` is set, the baselines.
///
/// # Errors
/// All errors of the configuration.
pub fn compare(plan: &Plan, baselines: bool, trace: &[Recorded], tempo: &Tempo) -> Result<Comparison, String> {
    let others = BASELINES.iter().filter(|_| baselines);
    let plans: Vec<Plan> =
        [plan.clone(), plan.oracle()].into_iter().chain(others.map(|(_, way)| plan.by(*way))).collect();
    let mut outcomes = all(&plans, trace, tempo)?.into_iter();
    let (Some(replication), Some(oracle)) = (outcomes.next(), outcomes.next()) else {
        return Err("a run was lost".to_owned());
    };
    let baselines = BASELINES.iter().map(|(name, _)| *name).zip(outcomes).collect();
    Ok(Comparison { replication, oracle, baselines })
}

/// Runs all plans on one trace; outcomes in the order of the plans.
///
/// # Errors
/// All errors of a configuration.
pub fn all(plans: &[Plan], trace: &[Recorded], tempo: &Tempo) -> Result<Vec<Outcome>, String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((n, plan)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|n| Some((n, plans.get(n)?))) {
            done.push((n, simulation::run(plan, trace, tempo)));
        }
        done
    };
    let mut outcomes: Vec<(usize, Result<Outcome, String>)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores.min(AT_ONCE).min(plans.len())).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    });
    if outcomes.len() != plans.len() {
        return Err(format!("{} of {} runs failed; see above", plans.len() - outcomes.len(), plans.len()));
    }
    outcomes.sort_by_key(|(n, _)| *n);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}
