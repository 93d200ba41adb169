//! Detects that this replica stood still: the machine was frozen, or gave the process no CPU time for long.
//!
//! Must not know what follows from a stall. Messages carry ages, but a frozen replica cannot tell how long a message
//! waited in its socket buffer. After a stall, it must not take what waited there for recent.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A tick that is later than this is a stall. On an overloaded machine ticks are late by less.
const STALL_MIN: Duration = Duration::from_secs(1);

/// The stall detector of one task.
#[derive(Debug)]
pub(crate) struct StallDetector {
    each: Duration,
    next: Instant,
}

// === impl StallDetector ===

impl StallDetector {
    /// A detector that ticks at this interval, from now on.
    pub(crate) fn each(each: Duration) -> Self {
        Self { each, next: Instant::now() + each }
    }

    /// Waits for the next tick. Returns whether it came so late that the replica stood still. Dropping the future early
    /// loses nothing.
    pub(crate) async fn tick(&mut self) -> bool {
        sleep_until(self.next).await;
        let missed = self.missed();
        self.reset();
        missed
    }

    /// Whether the next tick is overdue by more than a second.
    pub(crate) fn missed(&self) -> bool {
        Instant::now() > self.next + STALL_MIN
    }

    /// Restarts the interval: after work that may take long and is no stall.
    pub(crate) fn reset(&mut self) {
        self.next = Instant::now() + self.each;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const INTERVAL: Duration = Duration::from_millis(200);

    #[tokio::test(start_paused = true)]
    async fn a_late_tick_is_no_stall_and_a_very_late_one_is() {
        let mut stall_detector = StallDetector::each(INTERVAL);
        assert!(!stall_detector.tick().await);
        advance(INTERVAL + STALL_MIN).await;
        assert!(!stall_detector.missed() && !stall_detector.tick().await);
        advance(INTERVAL + STALL_MIN + Duration::from_millis(1)).await;
        assert!(stall_detector.missed() && stall_detector.tick().await);
        assert!(!stall_detector.missed() && !stall_detector.tick().await);
    }

    #[tokio::test(start_paused = true)]
    async fn long_work_is_no_stall() {
        let mut stall_detector = StallDetector::each(INTERVAL);
        advance(INTERVAL + STALL_MIN * 2).await;
        stall_detector.reset();
        assert!(!stall_detector.missed() && !stall_detector.tick().await);
    }
}
