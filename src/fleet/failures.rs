//! How many of an endpoint's last answers were failures, as seen by one replica. The counts decay.
//!
//! Must not know what makes an answer a failure, nor whose counts these are. Own and received counts decay by the same
//! rule, so replicas with the same facts decide the same.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::time::Timestamp;

/// How long an answer counts. Its weight falls linearly to zero.
pub const WINDOW: Duration = Duration::from_secs(10);
/// One answer in the unit of counts.
const ONE: u32 = 1_000;
/// Answers within this time count as simultaneous. Without it, counts that decay by less than their unit never end.
const MERGE_WINDOW: Duration = Duration::from_millis(100);
/// Smaller counts are zero.
const COUNT_MIN: u32 = ONE / 10;
/// Fewer failures are ignored. Two within some seconds are more than this.
const FAILURES_MIN: u32 = ONE + ONE / 2;

/// Answers of one endpoint in the last seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FailureCounts {
    /// Answers that were failures, in thousandths.
    pub failures: u32,
    /// All answers, in thousandths.
    pub answers: u32,
}

/// Failure counts of one replica, and when they were last updated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    counts: FailureCounts,
    at: Timestamp,
}

// === impl Failures ===

impl Failures {
    /// The counts as of `at`.
    pub fn new(counts: FailureCounts, at: Timestamp) -> Self {
        Self { counts, at }
    }

    /// Counts an answer that came at `now`.
    pub fn add(&mut self, failed: bool, now: Timestamp) {
        if now.since(self.at) >= MERGE_WINDOW {
            *self = Self { counts: self.at(now), at: now };
        }
        self.counts.answers = self.counts.answers.saturating_add(ONE);
        if failed {
            self.counts.failures = self.counts.failures.saturating_add(ONE);
        }
    }

    /// The counts after their decay until `now`.
    pub fn at(&self, now: Timestamp) -> FailureCounts {
        let age = now.since(self.at).min(WINDOW);
        let left = (WINDOW - age).as_micros() as u64;
        // The quotient is at most the count, so the cast keeps its value.
        let decayed = |count: u32| (u64::from(count) * left / WINDOW.as_micros() as u64) as u32;
        let decayed = |count: u32| Some(decayed(count)).filter(|count| *count >= COUNT_MIN).unwrap_or(0);
        FailureCounts { failures: decayed(self.counts.failures), answers: decayed(self.counts.answers) }
    }

    /// The counts as they were at [`Failures::seen`].
    pub fn counts(&self) -> FailureCounts {
        self.counts
    }

    /// When an answer was last seen, to within 100 ms.
    pub fn seen(&self) -> Timestamp {
        self.at
    }
}

// === impl FailureCounts ===

impl FailureCounts {
    /// The sum of both.
    pub fn and(self, other: Self) -> Self {
        Self {
            failures: self.failures.saturating_add(other.failures),
            answers: self.answers.saturating_add(other.answers),
        }
    }

    /// Whether so many answers are failures that other endpoints should be preferred.
    pub fn are_failing(self) -> bool {
        self.failures >= FAILURES_MIN && self.failures >= self.answers / 2
    }
}

impl fmt::Display for FailureCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |count: u32| count.saturating_add(ONE / 2) / ONE;
        write!(f, "{} of {} in {} s", whole(self.failures), whole(self.answers), WINDOW.as_secs())
    }
}

impl Serialize for FailureCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn seen(answers: &[(u64, bool)]) -> Failures {
        let mut failures = Failures::default();
        answers.iter().for_each(|&(millis, failed)| failures.add(failed, at(millis)));
        failures
    }

    #[test]
    fn one_failure_is_ignored_and_two_in_a_row_are_not() {
        assert!(!seen(&[(1_000, true)]).at(at(1_000)).are_failing());
        assert!(seen(&[(1_000, true), (3_000, true)]).at(at(3_000)).are_failing());
        assert!(!seen(&[(1_000, true), (9_000, true)]).at(at(9_000)).are_failing(), "too far apart");
    }

    #[test]
    fn failures_among_many_good_answers_are_tolerated() {
        let mut answers: Vec<(u64, bool)> = (0..10).map(|n| (1_000 + n, false)).collect();
        answers.extend((0..5).map(|n| (1_020 + n, true)));
        assert!(!seen(&answers).at(at(1_030)).are_failing());
        answers.extend((0..5).map(|n| (1_030 + n, true)));
        assert!(seen(&answers).at(at(1_040)).are_failing());
        assert_eq!(seen(&answers).at(at(1_040)).to_string(), "10 of 20 in 10 s");
    }

    #[test]
    fn counts_decay_to_zero() {
        let failures = seen(&[(0, true); 4]);
        assert_eq!(failures.at(at(5_000)), FailureCounts { failures: 2_000, answers: 2_000 });
        assert!(failures.at(at(6_000)).are_failing() && !failures.at(at(6_300)).are_failing());
        assert_eq!(failures.at(at(10_000)), FailureCounts::default());
        assert_eq!(failures.at(at(u64::MAX / 1_000)), FailureCounts::default());
    }

    #[test]
    fn old_failures_expire_however_many_good_answers_follow() {
        let mut failures = seen(&[(0, true), (1, true)]);
        (1..60_000).for_each(|millis| failures.add(false, at(millis)));
        assert_eq!(failures.at(at(60_000)).failures, 0);
        assert!(failures.at(at(60_000)).answers > 5_000 * ONE);
    }
}
