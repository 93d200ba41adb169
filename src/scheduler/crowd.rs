//! How requests crowd: how many others are dispatched at the same moment as one, and so without knowing of it.
//!
//! Must not know who dispatched. It looks at what anybody dispatched, so that replicas who heard the same count the same.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Timestamp;

/// Dispatches that are looked at.
const LOOKED_AT: usize = 128;
/// Older ones say nothing of now.
const RECENT: Duration = Duration::from_secs(10);
/// Dispatches this near to each other don't know of each other: news goes round in about so long by peer streams.
const SAME_MOMENT: Duration = Duration::from_millis(10);

/// The last dispatches, of anybody.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    /// Oldest first.
    moments: VecDeque<Timestamp>,
}

// === impl Crowd ===

impl Crowd {
    /// A request was dispatched at `at`, here or by a peer.
    pub(super) fn dispatched(&mut self, at: Timestamp) {
        let place = self.moments.partition_point(|moment| *moment <= at);
        self.moments.insert(place, at);
        if self.moments.len() > LOOKED_AT {
            self.moments.pop_front();
        }
    }

    /// How many other dispatches shared the moment of each, on the mean over the last ones.
    pub(super) fn others(&self, now: Timestamp) -> f64 {
        let begin = self.moments.partition_point(|moment| *moment + RECENT < now);
        let (mut first, mut end, mut others) = (begin, begin, 0);
        for &moment in self.moments.range(begin..) {
            while self.moments[first] + SAME_MOMENT < moment {
                first += 1;
            }
            while self.moments.get(end).is_some_and(|other| *other <= moment + SAME_MOMENT) {
                end += 1;
            }
            others += end - first - 1;
        }
        others as f64 / (self.moments.len() - begin).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn others(moments: &[u64], now: u64) -> f64 {
        let mut crowd = Crowd::default();
        moments.iter().for_each(|&at| crowd.dispatched(Timestamp::from_millis(at)));
        crowd.others(Timestamp::from_millis(now))
    }

    #[test]
    fn a_burst_is_a_crowd_and_a_stream_is_not() {
        assert_eq!(others(&[100, 100, 100, 100], 200), 3.0);
        assert_eq!(others(&[100, 150, 200, 250], 300), 0.0);
        assert_eq!(others(&[100, 110, 120], 300), 4.0 / 3.0);
        assert_eq!(others(&[], 300), 0.0);
    }

    #[test]
    fn the_order_of_hearing_does_not_matter() {
        assert_eq!(others(&[120, 100, 105, 300], 300), others(&[100, 105, 120, 300], 300));
    }

    #[test]
    fn an_old_burst_is_forgotten() {
        assert_eq!(others(&[100, 100, 100, 20_000], 20_001), 0.0);
        let many: Vec<u64> = (0..1000).map(|n| n / 2 * 50).collect();
        assert_eq!(others(&many, 25_000), 1.0);
    }
}
