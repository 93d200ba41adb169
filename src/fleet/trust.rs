//! How far a belief about an endpoint can be trusted.
//!
//! Must not know why a report is late; only how late it is.

use std::time::Duration;

use serde::Serialize;

/// The trust state of an endpoint's load, shown in metrics and explanations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Trust {
    /// Reports arrive on time.
    Exact,
    /// The last report is old: it counts less, the older it is.
    Degraded,
    /// No report, or one too old to use: the pool's typical values count, and the dispatches that no report covers.
    Fallback,
}

/// Up to this age a report is exact, at the default scrape interval.
pub const EXACT_AGE_MAX: Duration = Duration::from_millis(300);
/// Beyond this age a report is no longer used, at the default scrape interval.
pub const DEGRADED_AGE_MAX: Duration = Duration::from_secs(10);
/// How much older than two intervals an exact report may be: time for a scrape and its transit.
const SCRAPE_ALLOWANCE: Duration = Duration::from_millis(200);
/// Intervals after which a report is no longer used.
const INTERVALS_MAX: u32 = 6;

/// The ages at which trust changes. They follow the scrape interval: a report is not old before the next one is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustAges {
    /// Up to this age a report is [`Trust::Exact`].
    pub exact: Duration,
    /// Up to this age it is [`Trust::Degraded`], and from then on [`Trust::Fallback`].
    pub degraded: Duration,
}

// === impl TrustAges ===

impl TrustAges {
    /// The ages for one scrape of each engine per `interval`. Two scrapes may fail before a report is degraded.
    pub fn of_interval(interval: Duration) -> Self {
        Self {
            exact: EXACT_AGE_MAX.max(interval.saturating_mul(2).saturating_add(SCRAPE_ALLOWANCE)),
            degraded: DEGRADED_AGE_MAX.max(interval.saturating_mul(INTERVALS_MAX)),
        }
    }

    /// The trust that an age earns; `None` means that there never was a report.
    pub fn trust(self, age: Option<Duration>) -> Trust {
        match age {
            Some(age) if age <= self.exact => Trust::Exact,
            Some(age) if age <= self.degraded => Trust::Degraded,
            _ => Trust::Fallback,
        }
    }

    /// What a report of this age is worth, `0..=1`: all of it while exact, then linearly less until nothing.
    pub fn worth(self, age: Option<Duration>) -> f64 {
        let Some(age) = age else { return 0.0 };
        if age <= self.exact {
            return 1.0;
        }
        let (age, from, to) = (age.as_secs_f64(), self.exact.as_secs_f64(), self.degraded.as_secs_f64());
        ((to - age) / (to - from)).max(0.0)
    }
}

impl Default for TrustAges {
    fn default() -> Self {
        Self { exact: EXACT_AGE_MAX, degraded: DEGRADED_AGE_MAX }
    }
}

// === impl Trust ===

impl Trust {
    /// The trust that an age earns at the default scrape interval.
    pub fn of_age(age: Option<Duration>) -> Self {
        TrustAges::default().trust(age)
    }

    /// The spelling used in metrics, logs and explanations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "EXACT",
            Self::Degraded => "DEGRADED",
            Self::Fallback => "FALLBACK",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_follows_the_scrape_interval_and_the_default_one_has_the_default_ages() {
        let of = |millis| TrustAges::of_interval(Duration::from_millis(millis));
        assert_eq!([of(0), of(10), of(50)], [TrustAges::default(); 3]);
        for millis in [50, 100, 1_000, 1_700, 15_000, 3_600_000, u64::MAX] {
            let (ages, interval) = (of(millis), Duration::from_millis(millis));
            assert!(ages.exact < ages.degraded || millis == u64::MAX, "{ages:?}");
            assert_eq!(ages.trust(Some(interval)), Trust::Exact, "the next report is not due before {interval:?}");
            assert_eq!(ages.trust(Some(interval.saturating_mul(2))), Trust::Exact, "one scrape may fail");
        }
        assert_eq!(of(15_000).trust(Some(Duration::from_secs(91))), Trust::Fallback);
    }

    #[test]
    fn the_worth_of_a_report_falls_from_one_to_nothing_between_its_ages() {
        let worth = |millis| TrustAges::default().worth(Some(Duration::from_millis(millis)));
        assert_eq!((worth(300), worth(5_150), worth(10_000), worth(99_000)), (1.0, 0.5, 0.0, 0.0));
        assert_eq!(TrustAges::default().worth(None), 0.0);
    }

    #[test]
    fn trust_changes_exactly_at_its_borders() {
        let tick = Duration::from_micros(1);
        assert_eq!(Trust::of_age(Some(EXACT_AGE_MAX)), Trust::Exact);
        assert_eq!(Trust::of_age(Some(EXACT_AGE_MAX + tick)), Trust::Degraded);
        assert_eq!(Trust::of_age(Some(DEGRADED_AGE_MAX)), Trust::Degraded);
        assert_eq!(Trust::of_age(Some(DEGRADED_AGE_MAX + tick)), Trust::Fallback);
        assert_eq!(Trust::of_age(None), Trust::Fallback);
    }
}
