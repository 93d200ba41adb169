//! The restart policy: how long a failed part pauses, and how many failures in a row end a vital one.
//!
//! Must not know parts. The pause doubles with each failure within a minute of the last, so a broken part costs little.

use std::time::Duration;

use murmuration::time::Timestamp;

/// Time since the last failure after which the count starts again.
const RESET_AFTER: Duration = Duration::from_secs(60);
/// The first pause.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Failures in a row after which a vital part is given up: after about five seconds of pauses.
pub(super) const FAILURES_MAX: u32 = 10;

/// The failures of one part.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Restarts {
    failures: u32,
    last: Timestamp,
}

// === impl Restarts ===

impl Restarts {
    /// Records a failure at `now`; returns the pause before the next start.
    pub(super) fn failed(&mut self, now: Timestamp) -> Duration {
        if now.since(self.last) > RESET_AFTER {
            self.failures = 0;
        }
        self.last = now;
        let pause = PAUSE_MIN.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        pause.min(PAUSE_MAX)
    }

    /// Failures in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_a_minute_without_failure_resets_them() {
        let mut restarts = Restarts::default();
        let at = Timestamp::from_millis;
        let pauses: Vec<_> = (0..12).map(|i| restarts.failed(at(i)).as_millis()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5000, 5000, 5000]);
        assert_eq!(restarts.failures(), 12);
        assert_eq!(restarts.failed(at(60_012)).as_millis(), 10);
        assert_eq!(restarts.failures(), 1);
    }
}
