//! `load_evens_out`.
//!
//! Must not know prefixes. Conversations stay where their prefix is, which makes load uneven; the bound has room for
//! that. While engines still work off what a burst of the storm left, they are not equal, and nothing counts.

use std::collections::BTreeMap;

use murmuration::id::EndpointId;

use super::stampede::sharers;
use super::{About, Broken, Invariant, RECOVERY, Scene, broken};
use crate::history::{Entry, Fact, Phase};
use crate::plan::Plan;

/// How many times its share an endpoint may get.
const TIMES: usize = 3;
/// Requests that it may get beyond that.
const SLACK: usize = 20;
/// Seconds of the plan's traffic that may be open. With more, engines still work off what the storm left.
const BACKLOG_MAX: f64 = 2.0;

/// See [`Invariant::about`].
#[derive(Debug)]
pub(super) struct LoadEvensOut {
    sharers: usize,
    sent: BTreeMap<EndpointId, usize>,
}

// === impl LoadEvensOut ===

impl LoadEvensOut {
    pub(super) fn new(plan: &Plan) -> Self {
        Self { sharers: sharers(plan), sent: BTreeMap::new() }
    }
}

impl Invariant for LoadEvensOut {
    fn about(&self) -> About {
        About::recovery(
            "load_evens_out",
            "of the requests from 2 s after the storm on, its backlog worked off, no endpoint gets more than three times its share plus 20",
        )
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        if let Fact::Sent { to: Some(to), .. } = &entry.fact
            && scene.settled(Phase::Recovery, RECOVERY)
            && scene.open() as f64 <= BACKLOG_MAX * scene.plan().traffic.rate
        {
            *self.sent.entry(to.clone()).or_default() += 1;
        }
        Ok(())
    }

    fn end(&mut self, _scene: &Scene) -> Result<(), Broken> {
        let all: usize = self.sent.values().sum();
        let most = TIMES * all / self.sharers + SLACK;
        match self.sent.iter().find(|(_, sent)| **sent > most) {
            Some((endpoint, sent)) => {
                broken!("{endpoint} got {sent} of {all} requests after the storm, at most {most}")
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::HistoryBuilder;

    fn sent(to_one: u64) -> HistoryBuilder {
        let mut history = HistoryBuilder::calm();
        history.phase(10_000, Phase::Recovery).at(12_000);
        (0..40).for_each(|request| history.sent(request, 0, 1 + request as usize % 3));
        (0..to_one).for_each(|request| history.sent(100 + request, 0, 0));
        history
    }

    #[test]
    fn three_times_the_share_plus_twenty_is_the_most() {
        // 3 * (40 + n) / 4 + 20 >= n, up to 200.
        let history = sent(200);
        assert_eq!(history.check(LoadEvensOut::new(&history.plan)), Ok(()));
        let history = sent(201);
        history.breaks(LoadEvensOut::new(&history.plan), "town/engine-0 got 201 of 241 requests");
    }

    #[test]
    fn nothing_counts_while_a_backlog_of_the_storm_is_worked_off() {
        for (open, right) in [(2.0, false), (2.1, true)] {
            let mut history = HistoryBuilder::calm();
            let open = (open * history.plan.traffic.rate) as u64;
            (0..open).for_each(|request| history.ask(1_000 + request, 0, 0));
            history.phase(10_000, Phase::Recovery).at(12_000);
            (0..201).for_each(|request| history.sent(request, 0, 0));
            assert_eq!(history.check(LoadEvensOut::new(&history.plan)).is_ok(), right, "{open} are open");
        }
    }
}
