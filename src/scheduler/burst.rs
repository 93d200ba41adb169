//! How requests burst: how many others are dispatched at the same moment as one, and so without knowing of it.
//!
//! Must not know who dispatched. It looks at what anybody dispatched, so that replicas who heard the same count the same.
//! How long a moment is, is measured: as long as news of a dispatch takes to come.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Timestamp;

/// Dispatches that are looked at.
const LOOKED_AT: usize = 128;
/// Older ones say nothing of now.
const RECENT: Duration = Duration::from_secs(10);
/// What a moment can be. Dispatches this near to each other don't know of each other: by peer streams news goes round in the
/// first of these, by gossip in the second, and the others are for lanes in trouble. Few and far between, so that
/// replicas whose readings differ a little take the same one.
const MOMENTS: [Duration; 4] =
    [Duration::from_millis(10), Duration::from_millis(50), Duration::from_millis(100), Duration::from_millis(200)];
/// After a pause of so many times the longest one before, and no shorter than [`PAUSE_MIN`], no more requests are expected. Then the last
/// burst says nothing of the next request, and replicas whose counts differ by a little must not decide differently for seconds.
const PAUSES: u32 = 2;
/// Shorter pauses are part of any traffic.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Ages of news that are looked at.
const AGES: usize = 64;

/// The last dispatches, of anybody.
#[derive(Debug, Default)]
pub(super) struct BurstEstimator {
    /// Oldest first.
    moments: VecDeque<Timestamp>,
    /// How old the last news of peers' dispatches was when it came; oldest first.
    ages: VecDeque<Duration>,
}

// === impl BurstEstimator ===

impl BurstEstimator {
    /// A request was dispatched at `at`, here or by a peer.
    pub(super) fn dispatched(&mut self, at: Timestamp) {
        let place = self.moments.partition_point(|moment| *moment <= at);
        self.moments.insert(place, at);
        if self.moments.len() > LOOKED_AT {
            self.moments.pop_front();
        }
    }

    /// News of a peer's dispatch came, this old.
    pub(super) fn heard(&mut self, age: Duration) {
        if self.ages.len() == AGES {
            self.ages.pop_front();
        }
        self.ages.push_back(age);
    }

    /// For how long others may not know of a dispatch: the middle of what was measured, rounded up.
    fn moment(&self) -> Duration {
        let mut ages: Vec<Duration> = self.ages.iter().copied().collect();
        ages.sort_unstable();
        let middle = ages.get(ages.len() / 2).copied().unwrap_or_default();
        MOMENTS.into_iter().find(|moment| middle <= *moment).unwrap_or(MOMENTS[MOMENTS.len() - 1])
    }

    /// How many other dispatches shared the moment of each, on the mean over the last ones; none once traffic has ceased.
    pub(super) fn others(&self, now: Timestamp) -> f64 {
        let begin = self.moments.partition_point(|moment| *moment + RECENT < now);
        if self.has_ceased(begin, now) {
            return 0.0;
        }
        let (mut first, mut end, mut others) = (begin, begin, 0);
        let same = self.moment();
        for &moment in self.moments.range(begin..) {
            while self.moments[first] + same < moment {
                first += 1;
            }
            while self.moments.get(end).is_some_and(|other| *other <= moment + same) {
                end += 1;
            }
            others += end - first - 1;
        }
        others as f64 / (self.moments.len() - begin).max(1) as f64
    }

    /// Whether the pause since the last dispatch is longer than those between the ones from `begin` on let expect.
    fn has_ceased(&self, begin: usize, now: Timestamp) -> bool {
        let Some(last) = self.moments.back() else { return true };
        let (earlier, later) = (self.moments.range(begin..), self.moments.range(begin..).skip(1));
        let longest = earlier.zip(later).map(|(one, next)| next.since(*one)).max().unwrap_or_default();
        now.since(*last) > PAUSE_MIN.max(longest * PAUSES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn others(moments: &[u64], now: u64) -> f64 {
        let mut burst = BurstEstimator::default();
        moments.iter().for_each(|&at| burst.dispatched(Timestamp::from_millis(at)));
        burst.others(Timestamp::from_millis(now))
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
    fn a_moment_is_as_long_as_news_takes_and_one_late_word_does_not_change_it() {
        let others = |ages: &[u64]| {
            let mut burst = BurstEstimator::default();
            [100, 140, 180].into_iter().for_each(|at| burst.dispatched(Timestamp::from_millis(at)));
            ages.iter().for_each(|&age| burst.heard(Duration::from_millis(age)));
            burst.others(Timestamp::from_millis(200))
        };
        assert_eq!(others(&[]), 0.0);
        assert_eq!(others(&[3, 5, 10, 900]), 0.0, "the middle counts");
        assert_eq!(others(&[11, 33, 40]), 4.0 / 3.0);
        assert_eq!(others(&[90, 90, 90]), 2.0);
        assert_eq!(others(&[5_000; 200]), 2.0, "bounded");
    }

    #[test]
    fn after_a_pause_longer_than_traffic_has_the_crowd_is_over() {
        let steady: Vec<u64> = (0..100).map(|n| n / 2 * 80).collect();
        assert_eq!(others(&steady, 3_920 + 999), 1.0);
        assert_eq!(others(&steady, 3_920 + 1_001), 0.0, "what is left is a guess, and replicas guess apart");
        let bursts: Vec<u64> = (0..9).map(|n| n / 3 * 3_000).collect();
        assert_eq!(others(&bursts, 6_000 + 2_999), 2.0, "the next burst is due");
        assert_eq!(others(&bursts, 6_000 + 6_001), 0.0);
    }

    #[test]
    fn an_old_burst_is_forgotten() {
        assert_eq!(others(&[100, 100, 100, 20_000], 20_001), 0.0);
        let many: Vec<u64> = (0..1000).map(|n| n / 2 * 50).collect();
        assert_eq!(others(&many, 25_000), 1.0);
    }
}
