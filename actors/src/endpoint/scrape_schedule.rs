//! When an endpoint is scraped: at due times that never move, so that the duration of scrapes does not add up.
//!
//! Due times of different endpoints fall into slots. Those of one slot are due at the same moment of the replica's
//! clock. The timer wakes the process once for all of them, and their answers come together too. The slots spread a
//! pool's scrapes over the interval.
//!
//! Must not know a clock, nor what is done when an endpoint is due.

use std::time::Duration;

use murmuration::id::{EndpointId, PoolId};
use murmuration::time::Timestamp;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The width of a slot: a tenth of llm-d's interval, and wide compared with the millisecond that a timer may be late.
const SLOT: Duration = Duration::from_millis(5);

/// How soon an endpoint is first scraped, however long the interval: until then nothing is known of it.
const FIRST_WITHIN: Duration = Duration::from_millis(50);

/// What chooses an endpoint's slot: its name, and that of its pool. Where pools call their endpoints alike, those of one
/// name would all be due at once.
pub(crate) fn slot_key(pool: &PoolId, endpoint: &EndpointId) -> u64 {
    let name = endpoint.key().0;
    if pool.is_default() { name } else { xxh3_64_with_seed(pool.as_str().as_bytes(), name) }
}

/// The due times of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScrapeSchedule {
    interval_us: u64,
    /// From a multiple of the interval, counted from the replica's start, to the due time.
    offset_us: u64,
}

// === impl ScrapeSchedule ===

impl ScrapeSchedule {
    /// Due once each `interval`, in the slot that `key`, a hash, selects. An interval shorter than a
    /// microsecond counts as one microsecond.
    pub(super) fn new(interval: Duration, key: u64) -> Self {
        let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let (interval_us, slot_us) = (micros(interval).max(1), micros(SLOT));
        let slots = (interval_us / slot_us).max(1);
        Self { interval_us, offset_us: key % slots * slot_us }
    }

    /// From `now` to the first scrape of the endpoint with this `key`: at its first due time, or sooner where the
    /// interval is long. First scrapes of different endpoints are spread as well.
    pub(super) fn first(interval: Duration, key: u64, now: Timestamp) -> Duration {
        Self::new(interval.min(FIRST_WITHIN), key).pause(now, Timestamp::ZERO)
    }

    /// From `now` to the first due time after both `now` and `earliest`.
    pub(super) fn pause(&self, now: Timestamp, earliest: Timestamp) -> Duration {
        let past = now.max(earliest).as_micros();
        let periods = past.checked_sub(self.offset_us).map_or(0, |elapsed| elapsed / self.interval_us + 1);
        let due = periods.saturating_mul(self.interval_us).saturating_add(self.offset_us);
        Timestamp::from_micros(due).since(now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn scrape_schedule(interval: u64, key: u64) -> ScrapeSchedule {
        ScrapeSchedule::new(Duration::from_millis(interval), key)
    }

    #[test]
    fn endpoints_of_a_slot_share_their_due_times_and_others_do_not() {
        let pause = |key| scrape_schedule(50, key).pause(ms(100), Timestamp::ZERO);
        assert_eq!((pause(3), pause(13), pause(4)), (pause(13), pause(23), Duration::from_millis(20)));
        assert_eq!(pause(3), Duration::from_millis(15));
    }

    /// A hundred pools with the same twenty names: their scrapes spread over the interval.
    #[test]
    fn pools_that_name_their_endpoints_alike_have_slots_of_their_own() {
        let mut due = std::collections::BTreeMap::<_, usize>::new();
        for pool in (0..100).filter_map(|at| PoolId::new(&format!("pool-{at}")).ok()) {
            for endpoint in (0..20).map(|at| EndpointId::new("default", &format!("engine-{at}"))) {
                let first = scrape_schedule(1_000, slot_key(&pool, &endpoint)).pause(ms(0), Timestamp::ZERO);
                *due.entry(first).or_default() += 1;
            }
        }
        let most = due.values().max();
        assert!(due.len() > 190 && most.is_some_and(|most| *most < 30), "{} slots, {most:?} in one", due.len());
        let name = EndpointId::new("default", "engine-1");
        assert_eq!(slot_key(&PoolId::default(), &name), name.key().0);
    }

    #[test]
    fn the_time_that_a_scrape_takes_does_not_move_the_next_one() {
        for took in 0..49 {
            let began = ms(1015);
            let now = began + Duration::from_millis(took);
            assert_eq!(now + scrape_schedule(50, 3).pause(now, began), ms(1065), "a scrape of {took} ms");
        }
        let late = ms(1065);
        assert_eq!(late + scrape_schedule(50, 3).pause(late, ms(1015)), ms(1115), "a missed due time is skipped");
    }

    #[test]
    fn a_pause_after_failures_ends_at_a_due_time() {
        let began = ms(1015);
        let now = ms(1017);
        assert_eq!(now + scrape_schedule(50, 3).pause(now, began + Duration::from_millis(350)), ms(1415));
    }

    #[test]
    fn the_first_scrape_comes_soon_however_long_the_interval() {
        for interval in [50, 1_000, 15_000, 3_600_000] {
            let first = |key| ScrapeSchedule::first(Duration::from_millis(interval), key, ms(100));
            assert!((0..100).all(|key| !first(key).is_zero() && first(key) <= FIRST_WITHIN), "{interval} ms");
            assert_ne!(first(3), first(4), "not all at one moment");
        }
        assert_eq!(
            ScrapeSchedule::first(Duration::from_millis(50), 3, ms(100)),
            scrape_schedule(50, 3).pause(ms(100), Timestamp::ZERO)
        );
    }

    #[test]
    fn an_interval_below_a_slot_is_obeyed() {
        assert_eq!(scrape_schedule(2, 77).pause(ms(10), Timestamp::ZERO), Duration::from_millis(2));
        assert_eq!(ScrapeSchedule::new(Duration::ZERO, 77).pause(ms(10), Timestamp::ZERO), Duration::from_micros(1));
    }

    proptest! {
        #[test]
        fn due_times_never_stop_and_are_never_further_apart_than_the_interval(
            interval in 1..10_000_000_u64, key: u64, now in 0..u64::MAX / 4,
        ) {
            let scrape_schedule = ScrapeSchedule::new(Duration::from_micros(interval), key);
            let pause = scrape_schedule.pause(Timestamp::from_micros(now), Timestamp::ZERO);
            prop_assert!(!pause.is_zero() && pause <= Duration::from_micros(interval));
        }
    }
}
