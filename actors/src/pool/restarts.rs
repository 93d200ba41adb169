//! How long a failed child pauses before its next life.
//!
//! Must not know children. Pauses double with each failure within a minute, so a child that can't live costs little.

use std::time::Duration;

use murmuration::time::Timestamp;

/// Failures older than this are forgiven.
const WINDOW: Duration = Duration::from_secs(60);
/// The first pause.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The failures of one child.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Restarts {
    failures: u32,
    last: Timestamp,
}

// === impl Restarts ===

impl Restarts {
    /// Notes a failure at `now`; gives the pause before the next life.
    pub(super) fn failed(&mut self, now: Timestamp) -> Duration {
        if now.since(self.last) > WINDOW {
            self.failures = 0;
        }
        self.last = now;
        let pause = PAUSE_MIN.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        pause.min(PAUSE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_a_quiet_minute_forgives() {
        let mut restarts = Restarts::default();
        let at = Timestamp::from_millis;
        let pauses: Vec<_> = (0..12).map(|i| restarts.failed(at(i)).as_millis()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5000, 5000, 5000]);
        assert_eq!(restarts.failed(at(60_012)).as_millis(), 10);
    }
}
