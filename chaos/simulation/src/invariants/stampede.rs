//! `no_stampede`.
//!
//! Must not know scores. Conversations stay where their prefix is, so load is shared by at most as many endpoints as
//! there are conversations.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use murmuration::id::EndpointId;

use super::{About, Broken, Invariant, Scene, broken};
use crate::history::{Entry, Fact, Phase};
use crate::plan::{Fault, Plan};

/// The window in which requests are counted.
const WINDOW: Duration = Duration::from_secs(1);
/// How long after a fault endpoints do not count as equal.
const EQUAL_AFTER: Duration = Duration::from_secs(5);
/// How many times its share an endpoint may get.
const TIMES: usize = 3;
/// Requests that it may get beyond that: a few requests are no stampede.
const SLACK: usize = 12;

/// See [`Invariant::about`].
#[derive(Debug)]
pub(super) struct NoStampede {
    sharers: usize,
    sent: VecDeque<(Duration, EndpointId)>,
    counts: BTreeMap<EndpointId, usize>,
}

/// How many endpoints share a plan's requests without faults: those that answer.
pub(super) fn sharers(plan: &Plan) -> usize {
    plan.cluster.decoders().min(plan.traffic.conversations).max(1)
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

impl Invariant for NoStampede {
    fn about(&self) -> About {
        About::safety(
            "no_stampede",
            "while endpoints are equal, none gets more than three times its share of the requests of one second plus 12",
        )
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

/// Whether endpoints are equal: reloads, replayed datagrams, clock drift, vanishing clients and bursts are the only
/// faults in force, now or recently.
fn equal(scene: &Scene) -> bool {
    let harmless = |fault: &Fault| {
        let calm = matches!(fault, Fault::Reload { .. } | Fault::Replay { .. } | Fault::Clock { .. });
        calm || matches!(fault, Fault::Vanish { .. } | Fault::Burst { .. })
    };
    let quiet = scene.phase() == Phase::Storm || scene.phase() == Phase::Recovered;
    quiet && scene.now() > scene.phase_since() + WINDOW && !scene.feels(EQUAL_AFTER, |fault| !harmless(fault))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::HistoryBuilder;
    use crate::plan::Place;

    /// In one second `requests` requests to one engine, and four to each of the others.
    fn sent(requests: u64, faults: Vec<Fault>) -> HistoryBuilder {
        let mut history = HistoryBuilder::with(faults);
        history.at(10_000);
        if !history.plan.faults.is_empty() {
            history.world(Fact::FaultBegan(0));
        }
        (0..12).for_each(|request| history.sent(request, 0, 1 + request as usize % 3));
        history.at(11_000);
        (0..requests).for_each(|request| history.sent(100 + request, 0, 0));
        history
    }

    fn invariant(history: &HistoryBuilder) -> NoStampede {
        NoStampede::new(&history.plan)
    }

    #[test]
    fn three_times_the_share_plus_twelve_is_the_most() {
        // 3 * (12 + n) / 4 + 12 >= n, up to 84.
        let history = sent(84, Vec::new());
        assert_eq!(history.check(invariant(&history)), Ok(()));
        let history = sent(85, Vec::new());
        history.breaks(invariant(&history), "town/engine-0 got 85 of 97 requests");
    }

    #[test]
    fn a_better_endpoint_may_get_more() {
        let history = sent(100, vec![Fault::EngineKill { who: Place::Engine(1) }]);
        assert_eq!(history.check(invariant(&history)), Ok(()));
        let history = sent(100, vec![Fault::Burst { factor: 8.0 }]);
        history.breaks(invariant(&history), "within a second");
    }

    #[test]
    fn the_window_is_a_second() {
        let mut history = sent(80, Vec::new());
        history.at(12_001);
        (0..20).for_each(|request| history.sent(300 + request, 0, 0));
        assert_eq!(history.check(invariant(&history)), Ok(()));
    }
}
