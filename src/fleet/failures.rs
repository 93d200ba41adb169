//! How many of an endpoint's last answers were failures, as seen by one replica: counts that fade.
//!
//! Must not know what makes an answer a failure, nor whose counts these are: one's own and those heard of fade by the
//! same rule, so that two replicas which were told the same judge the same.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::time::Timestamp;

/// How long an answer counts. It counts less, in a straight line to nothing.
pub const WINDOW: Duration = Duration::from_secs(10);
/// One answer in the unit of counts.
const ONE: u32 = 1_000;
/// Answers within so long count as given at one moment. Without it, counts that fade by less than their unit never end.
const MOMENT: Duration = Duration::from_millis(100);
/// Less than this is nothing.
const LEAST: u32 = ONE / 10;
/// Fewer failures are an accident. Two that follow each other within some seconds are more.
const FAILURES_MIN: u32 = ONE + ONE / 2;

/// Answers of one endpoint in the last seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FailureCounts {
    /// Answers that were failures, in thousandths.
    pub failures: u32,
    /// All answers, in thousandths.
    pub answers: u32,
}

/// What one replica saw, and when it last saw something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    counts: FailureCounts,
    at: Timestamp,
}

// === impl Failures ===

impl Failures {
    /// What was seen up to `at`.
    pub fn new(counts: FailureCounts, at: Timestamp) -> Self {
        Self { counts, at }
    }

    /// Counts an answer that came at `now`.
    pub fn add(&mut self, failed: bool, now: Timestamp) {
        if now.since(self.at) >= MOMENT {
            *self = Self { counts: self.at(now), at: now };
        }
        self.counts.answers = self.counts.answers.saturating_add(ONE);
        if failed {
            self.counts.failures = self.counts.failures.saturating_add(ONE);
        }
    }

    /// What still counts at `now`.
    pub fn at(&self, now: Timestamp) -> FailureCounts {
        let age = now.since(self.at).min(WINDOW);
        let left = (WINDOW - age).as_micros() as u64;
        // The quotient is at most the count, so the cast keeps its value.
        let faded = |count: u32| (u64::from(count) * left / WINDOW.as_micros() as u64) as u32;
        let faded = |count: u32| Some(faded(count)).filter(|count| *count >= LEAST).unwrap_or(0);
        FailureCounts { failures: faded(self.counts.failures), answers: faded(self.counts.answers) }
    }

    /// The counts as they were at [`Failures::seen`].
    pub fn counts(&self) -> FailureCounts {
        self.counts
    }

    /// When something was last seen.
    pub fn seen(&self) -> Timestamp {
        self.at
    }
}

// === impl FailureCounts ===

impl FailureCounts {
    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self {
            failures: self.failures.saturating_add(other.failures),
            answers: self.answers.saturating_add(other.answers),
        }
    }

    /// Whether so many of the answers are failures that others should be asked instead.
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
    fn one_failure_is_an_accident_and_two_in_a_row_are_not() {
        assert!(!seen(&[(1_000, true)]).at(at(1_000)).are_failing());
        assert!(seen(&[(1_000, true), (3_000, true)]).at(at(3_000)).are_failing());
        assert!(!seen(&[(1_000, true), (9_000, true)]).at(at(9_000)).are_failing(), "too far apart");
    }

    #[test]
    fn failures_among_many_good_answers_are_borne() {
        let mut answers: Vec<(u64, bool)> = (0..10).map(|n| (1_000 + n, false)).collect();
        answers.extend((0..5).map(|n| (1_020 + n, true)));
        assert!(!seen(&answers).at(at(1_030)).are_failing());
        answers.extend((0..5).map(|n| (1_030 + n, true)));
        assert!(seen(&answers).at(at(1_040)).are_failing());
        assert_eq!(seen(&answers).at(at(1_040)).to_string(), "10 of 20 in 10 s");
    }

    #[test]
    fn what_was_seen_fades_and_ends() {
        let failures = seen(&[(0, true); 4]);
        assert_eq!(failures.at(at(5_000)), FailureCounts { failures: 2_000, answers: 2_000 });
        assert!(failures.at(at(6_000)).are_failing() && !failures.at(at(6_300)).are_failing());
        assert_eq!(failures.at(at(10_000)), FailureCounts::default());
        assert_eq!(failures.at(at(u64::MAX / 1_000)), FailureCounts::default());
    }

    #[test]
    fn old_failures_end_however_many_good_answers_follow() {
        let mut failures = seen(&[(0, true), (1, true)]);
        (1..60_000).for_each(|millis| failures.add(false, at(millis)));
        assert_eq!(failures.at(at(60_000)).failures, 0);
        assert!(failures.at(at(60_000)).answers > 5_000 * ONE);
    }
}
