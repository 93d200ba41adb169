//! From a plan that fails to a smaller one that fails in the same way.
//!
//! Must not know how a plan is tried. Steps come in one fixed order, and the first that still fails is taken; so the same failure
//! shrinks to the same plan.

use std::time::Duration;

use crate::plan::{Plan, Strike};

/// Faults and storms are not made shorter than this.
const SHORTEST: Duration = Duration::from_millis(100);
/// What is left of a storm after its last fault.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Shrunk {
    /// The smallest plan that was found to fail.
    pub plan: Plan,
    /// Plans that were tried.
    pub tried: usize,
    /// Whether all was tried that could make it smaller.
    pub minimal: bool,
}

/// Makes `plan` smaller as long as `fails` says that it still does, in at most `trials` trials.
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

/// Plans that are one step smaller, those with the largest steps first.
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
    let last = plan.faults.iter().map(Strike::end).max().unwrap_or_default();
    offer(&|plan| plan.duration = plan.duration.min(last + AFTERWARDS));
    offer(&|plan| plan.town.replicas = (plan.town.replicas - 1).max(1));
    offer(&|plan| plan.town.engines = (plan.town.engines / 2).max(1));
    offer(&|plan| plan.town.engines = (plan.town.engines - 1).max(1));
    offer(&|plan| plan.town.zones = 1);
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

/// Half of it in whole milliseconds, and no less than the shortest; what is that short already stays.
fn half(span: Duration) -> Duration {
    let half = Duration::from_millis((span / 2).as_millis() as u64);
    span.min(half.max(SHORTEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Fault, Place, Strike};

    fn has_kill(plan: &Plan) -> bool {
        plan.faults.iter().any(|strike| matches!(strike.fault, Fault::Kill { .. }))
    }

    /// A large plan in which a replica is killed, and no zone, which needs zones.
    fn large() -> Plan {
        let whole_zone = |strike: &Strike| matches!(strike.fault, Fault::Kill { who: Place::Zone(_), .. });
        let fits = |plan: &Plan| {
            let large = plan.faults.len() > 4 && plan.town.replicas > 3;
            large && has_kill(plan) && !plan.faults.iter().any(whole_zone)
        };
        (0..10_000).map(Plan::from_seed).find(fits).unwrap_or_else(|| Plan::from_seed(0))
    }

    #[test]
    fn only_what_makes_it_fail_is_left() {
        let fails = |plan: &Plan| has_kill(plan) && plan.town.replicas >= 2;
        let shrunk = shrink(&large(), 1_000, fails);
        assert!(shrunk.minimal && fails(&shrunk.plan), "{shrunk:?}");
        let Plan { town, traffic, faults, duration, .. } = &shrunk.plan;
        assert_eq!((faults.len(), town.engines, town.zones), (1, 1, 1));
        assert!(
            town.replicas < large().town.replicas && traffic.rate == 1.0 && traffic.conversations == 1,
            "{shrunk:?}"
        );
        assert!(faults[0].at <= SHORTEST && faults[0].lasting <= SHORTEST && *duration <= Duration::from_millis(1_200));
    }

    #[test]
    fn it_ends_when_its_trials_are_used_up_and_never_gives_a_plan_that_does_not_fail() {
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
