//! Estimates bursts: how many other requests are dispatched in the same short window as one, before news of it arrives.
//!
//! Must not know which replica dispatched. It counts the dispatches of all, so replicas with the same facts count the
//! same. The length of the window is measured: as long as news of a dispatch takes to arrive.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Timestamp;

/// Dispatches that are kept.
const DISPATCHES_MAX: usize = 128;
/// Older dispatches are ignored.
const RECENT: Duration = Duration::from_secs(10);
/// Possible windows. Dispatches this close together don't know of each other. By peer streams news arrives within the
/// first, by gossip within the second; the others are for lanes in trouble. They are few and far apart, so that
/// replicas whose measurements differ a little take the same one.
const WINDOWS: [Duration; 4] =
    [Duration::from_millis(10), Duration::from_millis(50), Duration::from_millis(100), Duration::from_millis(200)];
/// After a pause of this many times the longest earlier one, and longer than [`PAUSE_MIN`], no more requests are
/// expected. Then the last burst says nothing about the next request. Replicas whose counts differ a little must not
/// decide differently for seconds.
const PAUSE_FACTOR: u32 = 2;
/// Shorter pauses are normal in any traffic.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// What a measured age lacks: the way from the sender to this scheduler, which no clock measures. Within a zone it is
/// about as long.
const TRANSIT: Duration = Duration::from_micros(1_500);
/// Ages of news that are kept.
const AGES_MAX: usize = 64;

/// The last dispatches of all replicas.
#[derive(Debug, Default)]
pub(super) struct BurstEstimator {
    /// Oldest first.
    dispatches: VecDeque<Timestamp>,
    /// Ages of the last news of peers' dispatches, on arrival; oldest first.
    ages: VecDeque<Duration>,
    /// The same, the shortest first.
    sorted_ages: Vec<Duration>,
}

/// How many other requests are dispatched at the same moment as one, in the mean.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Others {
    /// All of them.
    pub(super) all: f64,
    /// As many of them as there would be if the same traffic came evenly.
    pub(super) by_rate: f64,
}

// === impl BurstEstimator ===

impl BurstEstimator {
    /// A request was dispatched at `at`, here or by a peer.
    pub(super) fn dispatched(&mut self, at: Timestamp) {
        let place = self.dispatches.partition_point(|earlier| *earlier <= at);
        self.dispatches.insert(place, at);
        if self.dispatches.len() > DISPATCHES_MAX {
            self.dispatches.pop_front();
        }
    }

    /// News of a peer's dispatch arrived at this age.
    pub(super) fn received(&mut self, age: Duration) {
        if self.ages.len() == AGES_MAX
            && let Some(oldest) = self.ages.pop_front()
            && let Ok(place) = self.sorted_ages.binary_search(&oldest)
        {
            self.sorted_ages.remove(place);
        }
        self.ages.push_back(age);
        let place = self.sorted_ages.partition_point(|earlier| *earlier <= age);
        self.sorted_ages.insert(place, age);
    }

    /// How long nine of ten news of dispatches take at most.
    pub(super) fn lag(&self) -> Duration {
        self.age_at(9, 10) + TRANSIT
    }

    /// How long news of a dispatch takes in the mean.
    pub(super) fn lag_mean(&self) -> Duration {
        // At most `AGES_MAX` of them, so the cast keeps its value.
        self.ages.iter().sum::<Duration>() / self.ages.len().max(1) as u32 + TRANSIT
    }

    /// The measured age that this part of all does not exceed.
    fn age_at(&self, part: usize, of: usize) -> Duration {
        self.sorted_ages.get(self.sorted_ages.len() * part / of).copied().unwrap_or_default()
    }

    /// How long peers may not know of a dispatch: the median age, rounded up to a window.
    fn window(&self) -> Duration {
        let median = self.age_at(1, 2);
        WINDOWS.into_iter().find(|window| median <= *window).unwrap_or(WINDOWS[WINDOWS.len() - 1])
    }

    /// Mean number of other dispatches within a window of each recent one; none once traffic has ceased.
    pub(super) fn others(&self, now: Timestamp) -> Others {
        let begin = self.dispatches.partition_point(|at| *at + RECENT < now);
        if self.has_ceased(begin, now) {
            return Others::default();
        }
        let (mut first, mut end, mut others) = (begin, begin, 0);
        let window = self.window();
        for &at in self.dispatches.range(begin..) {
            while self.dispatches[first] + window < at {
                first += 1;
            }
            while self.dispatches.get(end).is_some_and(|other| *other <= at + window) {
                end += 1;
            }
            others += end - first - 1;
        }
        let count = (self.dispatches.len() - begin).max(1) as f64;
        let all = others as f64 / count;
        let ends = self.dispatches.get(begin).zip(self.dispatches.back());
        let span = ends.map_or(Duration::ZERO, |(first, last)| last.since(*first)).as_secs_f64();
        let by_rate = if span > 0.0 { 2.0 * window.as_secs_f64() * (count - 1.0) / span } else { 0.0 };
        Others { all, by_rate: by_rate.min(all) }
    }

    /// Whether the pause since the last dispatch is too long compared with those between the dispatches from `begin`
    /// on.
    fn has_ceased(&self, begin: usize, now: Timestamp) -> bool {
        let Some(last) = self.dispatches.back() else { return true };
        let (earlier, later) = (self.dispatches.range(begin..), self.dispatches.range(begin..).skip(1));
        let longest = earlier.zip(later).map(|(one, next)| next.since(*one)).max().unwrap_or_default();
        now.since(*last) > PAUSE_MIN.max(longest * PAUSE_FACTOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn others(dispatches: &[u64], now: u64) -> f64 {
        let mut burst = BurstEstimator::default();
        dispatches.iter().for_each(|&at| burst.dispatched(Timestamp::from_millis(at)));
        burst.others(Timestamp::from_millis(now)).all
    }

    #[test]
    fn evenly_spread_traffic_has_others_by_its_rate_alone() {
        let others = |at: &dyn Fn(u64) -> u64| {
            let mut burst = BurstEstimator::default();
            (0..100).for_each(|n| burst.dispatched(Timestamp::from_millis(at(n))));
            burst.others(Timestamp::from_millis(at(99)))
        };
        let even = others(&|n| n * 2);
        assert!(even.all > 9.0 && even.all - even.by_rate < 0.1, "{even:?}");
        let in_bursts = others(&|n| n / 10 * 1_000);
        assert!(in_bursts.all == 9.0 && in_bursts.by_rate < 0.3, "{in_bursts:?}");
    }

    #[test]
    fn simultaneous_requests_are_a_burst_and_a_steady_stream_is_not() {
        assert_eq!(others(&[100, 100, 100, 100], 200), 3.0);
        assert_eq!(others(&[100, 150, 200, 250], 300), 0.0);
        assert_eq!(others(&[100, 110, 120], 300), 4.0 / 3.0);
        assert_eq!(others(&[], 300), 0.0);
    }

    #[test]
    fn the_order_of_arrival_does_not_matter() {
        assert_eq!(others(&[120, 100, 105, 300], 300), others(&[100, 105, 120, 300], 300));
    }

    #[test]
    fn the_window_is_as_long_as_news_takes_and_one_late_fact_does_not_change_it() {
        let others = |ages: &[u64]| {
            let mut burst = BurstEstimator::default();
            [100, 140, 180].into_iter().for_each(|at| burst.dispatched(Timestamp::from_millis(at)));
            ages.iter().for_each(|&age| burst.received(Duration::from_millis(age)));
            burst.others(Timestamp::from_millis(200)).all
        };
        assert_eq!(others(&[]), 0.0);
        assert_eq!(others(&[3, 5, 10, 900]), 0.0, "the median counts");
        assert_eq!(others(&[11, 33, 40]), 4.0 / 3.0);
        assert_eq!(others(&[90, 90, 90]), 2.0);
        assert_eq!(others(&[5_000; 200]), 2.0, "bounded");
    }

    #[test]
    fn after_an_unusually_long_pause_the_burst_is_over() {
        let steady: Vec<u64> = (0..100).map(|n| n / 2 * 80).collect();
        assert_eq!(others(&steady, 3_920 + 999), 1.0);
        assert_eq!(others(&steady, 3_920 + 1_001), 0.0, "the rest is a guess that differs between replicas");
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
