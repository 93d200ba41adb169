//! Reduces a failing plan to a smaller one that fails in the same way.
//!
//! Must not know how a plan is run. Reductions are tried in one fixed order and the first that still fails is taken, so
//! the same failure always shrinks to the same plan.

use std::time::Duration;

use crate::plan::{Plan, ScheduledFault};

/// Shrinking makes no duration or start time of a fault shorter than this.
const SHORTEST: Duration = Duration::from_millis(100);
/// What is kept of a storm after its last fault.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// The result of shrinking.
#[derive(Clone, Debug, PartialEq)]
pub struct Shrunk {
    /// The smallest plan found that still fails.
    pub plan: Plan,
    /// How many plans were tried.
    pub tried: usize,
    /// Whether no further reduction fails: otherwise the trials ran out.
    pub minimal: bool,
}

/// Makes `plan` smaller while `fails` returns `true` for the smaller plan, in at most `trials` trials.
pub fn shrink(plan: &Plan, trials: usize, mut fails: impl FnMut(&Plan) -> bool) -> Shrunk {
    let mut shrunk = Shrunk { plan: plan.clone(), tried: 0, minimal: false };
    'smaller: loop {
        for candidate in smaller(&shrunk.plan) {
            if shrunk.tried == trials {
                return shrunk;
            }
            shrunk.tried += 1;
            if fails(&candidate) {
                shrunk.plan = candidate;
                continue 'smaller;
            }
        }
        shrunk.minimal = true;
        return shrunk;
    }
}

/// Plans that are one reduction smaller, the largest reductions first.
fn smaller(plan: &Plan) -> Vec<Plan> {
    let mut found = Vec::new();
    let mut offer = |change: &dyn Fn(&mut Plan)| {
        let mut candidate = plan.clone();
        change(&mut candidate);
        if candidate != *plan && candidate.check().is_ok() {
            found.push(candidate);
        }
    };
    let faults = plan.faults.len();
    if faults > 2 {
        offer(&|plan| plan.faults.truncate(faults / 2));
        offer(&|plan| drop(plan.faults.drain(..faults / 2)));
    }
    (0..faults).for_each(|index| {
        offer(&|plan| {
            plan.faults.remove(index);
        });
    });
    let last = plan.faults.iter().map(ScheduledFault::end).max().unwrap_or_default();
    offer(&|plan| plan.duration = plan.duration.min(last + AFTERWARDS));
    offer(&|plan| plan.cluster.replicas = (plan.cluster.replicas - 1).max(1));
    offer(&|plan| plan.cluster.engines = (plan.cluster.engines / 2).max(1));
    offer(&|plan| plan.cluster.engines = (plan.cluster.engines - 1).max(1));
    offer(&|plan| plan.cluster.prefillers = 0);
    offer(&|plan| plan.cluster.prefillers = plan.cluster.prefillers.saturating_sub(1));
    offer(&|plan| plan.cluster.zone_latency = Duration::ZERO);
    offer(&|plan| plan.cluster.zones = 1);
    offer(&|plan| plan.traffic.rate = (plan.traffic.rate / 2.0).max(1.0));
    offer(&|plan| plan.traffic.conversations = (plan.traffic.conversations / 2).max(1));
    offer(&|plan| plan.traffic.prompt_bytes = (plan.traffic.prompt_bytes / 2).max(64));
    offer(&|plan| plan.traffic.answer_tokens = (plan.traffic.answer_tokens / 2).max(1));
    offer(&|plan| plan.traffic.subset = 0.0);
    for index in 0..faults {
        offer(&|plan| {
            let strike = &mut plan.faults[index];
            strike.lasting = half(strike.lasting);
        });
        offer(&|plan| plan.faults[index].at = half(plan.faults[index].at));
    }
    found
}

/// Half of `span` in whole milliseconds, but at least [`SHORTEST`]; a span that is already shorter is unchanged.
fn half(span: Duration) -> Duration {
    let half = Duration::from_millis((span / 2).as_millis() as u64);
    span.min(half.max(SHORTEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Fault, Place, ScheduledFault};

    fn has_kill(plan: &Plan) -> bool {
        plan.faults.iter().any(|strike| matches!(strike.fault, Fault::Kill { .. }))
    }

    /// A large drawn plan that kills a replica but no whole zone, since a zone fault keeps the plan from losing its
    /// zones.
    fn large() -> Plan {
        let whole_zone = |strike: &ScheduledFault| matches!(strike.fault, Fault::Kill { who: Place::Zone(_), .. });
        let fits = |plan: &Plan| {
            let large = plan.faults.len() > 4 && plan.cluster.replicas > 3;
            large && has_kill(plan) && !plan.faults.iter().any(whole_zone)
        };
        (0..10_000).map(Plan::from_seed).find(fits).unwrap_or_else(|| Plan::from_seed(0))
    }

    #[test]
    fn only_what_causes_the_failure_is_left() {
        let fails = |plan: &Plan| has_kill(plan) && plan.cluster.replicas >= 2;
        let shrunk = shrink(&large(), 1_000, fails);
        assert!(shrunk.minimal && fails(&shrunk.plan), "{shrunk:?}");
        let Plan { cluster, traffic, faults, duration, .. } = &shrunk.plan;
        assert_eq!((faults.len(), cluster.engines, cluster.zones), (1, 1, 1));
        assert!(
            cluster.replicas < large().cluster.replicas && traffic.rate == 1.0 && traffic.conversations == 1,
            "{shrunk:?}"
        );
        assert!(faults[0].at <= SHORTEST && faults[0].lasting <= SHORTEST && *duration <= Duration::from_millis(1_200));
    }

    #[test]
    fn it_stops_after_its_trials_and_returns_only_plans_that_fail() {
        let mut asked = 0;
        let shrunk = shrink(&large(), 10, |plan| {
            asked += 1;
            has_kill(plan)
        });
        assert_eq!((shrunk.tried, asked, shrunk.minimal), (10, 10, false));
        assert!(has_kill(&shrunk.plan));
        let stuck = shrink(&large(), 1_000, |_| false);
        assert_eq!((stuck.plan, stuck.minimal), (large(), true));
    }

    #[test]
    fn the_same_failure_shrinks_to_the_same_plan() {
        assert_eq!(shrink(&large(), 60, has_kill), shrink(&large(), 60, has_kill));
    }
}
