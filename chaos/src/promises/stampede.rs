//! `no_stampede`.
//!
//! Must not know scores. Conversations stay where their prefix is, so an endpoint's share is one of as many as conversations keep busy.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use murmuration::id::EndpointId;

use super::{Broken, Promise, Scene, broken};
use crate::chronicle::{Entry, Fact, Phase};
use crate::plan::{Fault, Plan};

/// The window.
const WINDOW: Duration = Duration::from_secs(1);
/// For how long after a fault endpoints do not count as equal.
const EQUAL_AFTER: Duration = Duration::from_secs(5);
/// Times its share that an endpoint may get.
const TIMES: usize = 3;
/// Requests beyond that: few requests are no crowd.
const SLACK: usize = 12;

/// See [`Promise::meaning`].
#[derive(Debug)]
pub(super) struct NoStampede {
    sharers: usize,
    sent: VecDeque<(Duration, EndpointId)>,
    counts: BTreeMap<EndpointId, usize>,
}

/// On how many endpoints a plan's requests are spread in fair weather.
pub(super) fn sharers(plan: &Plan) -> usize {
    plan.town.engines.min(plan.traffic.conversations).max(1)
}

// === impl NoStampede ===

impl NoStampede {
    pub(super) fn new(plan: &Plan) -> Self {
        Self { sharers: sharers(plan), sent: VecDeque::new(), counts: BTreeMap::new() }
    }

    fn forget_before(&mut self, begin: Duration) {
        while self.sent.front().is_some_and(|(at, _)| *at < begin) {
            let Some((_, endpoint)) = self.sent.pop_front() else { return };
            if let Some(count) = self.counts.get_mut(&endpoint) {
                *count -= 1;
            }
        }
    }
}

impl Promise for NoStampede {
    fn name(&self) -> &'static str {
        "no_stampede"
    }

    fn meaning(&self) -> &'static str {
        "while endpoints are equal, none gets more than three times its share of a second's requests (and 12)"
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        let Fact::Sent { to: Some(to), .. } = &entry.fact else { return Ok(()) };
        self.forget_before(entry.at.saturating_sub(WINDOW));
        self.sent.push_back((entry.at, to.clone()));
        let count = self.counts.entry(to.clone()).or_default();
        *count += 1;
        let (count, of) = (*count, self.sent.len());
        let most = TIMES * of / self.sharers + SLACK;
        match count > most && equal(scene) {
            true => broken!("{to} got {count} of {of} requests within a second, at most {most}"),
            false => Ok(()),
        }
    }
}

/// Whether endpoints are equal: nobody is struck by anything but death of replicas, and prompts are not made to meet.
fn equal(scene: &Scene) -> bool {
    let harmless = |fault: &Fault| {
        let calm = matches!(fault, Fault::Reload { .. } | Fault::Replay { .. } | Fault::Clock { .. });
        calm || matches!(fault, Fault::Vanish { .. } | Fault::Burst { .. })
    };
    let quiet = scene.phase() == Phase::Storm || scene.phase() == Phase::Healed;
    quiet && scene.now() > scene.phase_since() + WINDOW && !scene.feels(EQUAL_AFTER, |fault| !harmless(fault))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Place;
    use crate::promises::testing::Tale;

    /// In one second `crowd` requests to one engine, and four to each of the others.
    fn sent(crowd: u64, faults: Vec<Fault>) -> Tale {
        let mut tale = Tale::with(faults);
        tale.at(10_000);
        if !tale.plan.faults.is_empty() {
            tale.world(Fact::Struck(0));
        }
        (0..12).for_each(|request| tale.sent(request, 0, 1 + request as usize % 3));
        tale.at(11_000);
        (0..crowd).for_each(|request| tale.sent(100 + request, 0, 0));
        tale
    }

    fn promise(tale: &Tale) -> NoStampede {
        NoStampede::new(&tale.plan)
    }

    #[test]
    fn three_times_the_share_and_twelve_is_the_most() {
        // 3 * (12 + n) / 4 + 12 >= n, up to 84.
        let tale = sent(84, Vec::new());
        assert_eq!(tale.judged(promise(&tale)), Ok(()));
        let tale = sent(85, Vec::new());
        tale.breaks(promise(&tale), "town/engine-0 got 85 of 97 requests");
    }

    #[test]
    fn who_is_better_may_get_more() {
        let tale = sent(100, vec![Fault::EngineKill { who: Place::Engine(1) }]);
        assert_eq!(tale.judged(promise(&tale)), Ok(()));
        let tale = sent(100, vec![Fault::Burst { factor: 8.0 }]);
        tale.breaks(promise(&tale), "within a second");
    }

    #[test]
    fn the_window_is_a_second() {
        let mut tale = sent(80, Vec::new());
        tale.at(12_001);
        (0..20).for_each(|request| tale.sent(300 + request, 0, 0));
        assert_eq!(tale.judged(promise(&tale)), Ok(()));
    }
}
