//! Dispatches that an engine's report can't include yet.
//!
//! Must not know tickets or whose dispatches they are. The same rule applies to own and received dispatches, so that
//! two replicas count the same.

use std::time::Duration;

use crate::time::Timestamp;

/// How long after its dispatch a request may still be missing from an engine's gauges: the transit, and the engine
/// step that first counts it (gauges come from step statistics, so a burst shows up a step late).
const SETTLE: Duration = Duration::from_millis(20);
/// Dispatches that are remembered; more than any engine takes between two reports.
const UNSEEN_MAX: usize = 4096;

/// Times of dispatch, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unseen {
    times: Vec<Timestamp>,
}

// === impl Unseen ===

impl Unseen {
    /// A request was dispatched at `at`; the engine's last report was made at `measured`.
    pub fn dispatched(&mut self, at: Timestamp, measured: Option<Timestamp>) {
        let known = measured.is_some_and(|measured| at + SETTLE <= measured);
        if !known && self.times.len() < UNSEEN_MAX {
            let place = self.times.partition_point(|earlier| *earlier <= at);
            self.times.insert(place, at);
        }
    }

    /// The engine made a report at `measured`.
    pub fn reported(&mut self, measured: Timestamp) {
        self.times.retain(|&dispatched| dispatched + SETTLE > measured);
    }

    /// Keeps `open` dispatches at most: no more requests are open, so the oldest ones are over, seen or not.
    pub fn at_most(&mut self, open: u32) {
        let over = self.times.len().saturating_sub(open as usize);
        self.times.drain(..over);
    }

    /// Number of unseen dispatches.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_covers_dispatches_that_had_time_to_settle() {
        let mut unseen = Unseen::default();
        for at in [100, 110, 121] {
            unseen.dispatched(Timestamp::from_millis(at), None);
        }
        unseen.reported(Timestamp::from_millis(130));
        assert_eq!(unseen.len(), 1);
        unseen.dispatched(Timestamp::from_millis(105), Some(Timestamp::from_millis(130)));
        assert_eq!(unseen.len(), 1, "received late, and covered by then");
    }

    #[test]
    fn no_more_are_unseen_than_are_open() {
        let mut unseen = Unseen::default();
        for at in [1, 3, 2] {
            unseen.dispatched(Timestamp::from_millis(at), None);
        }
        unseen.at_most(1);
        unseen.reported(Timestamp::from_millis(22));
        assert_eq!(unseen.len(), 1, "the youngest is left");
    }
}
