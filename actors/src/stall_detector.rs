//! Whether this replica stood still: the machine was frozen, or gave it no time for long.
//!
//! Must not know what follows from it. Ages travel with words, and nobody counts how long they lay in a socket: whoever
//! stood still must not take what waited there for young.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A beat that is this late is a sign that the replica stood still; a crowded machine is late by less.
const MISSED: Duration = Duration::from_secs(1);

/// A stall_detector of one task.
#[derive(Debug)]
pub(crate) struct StallDetector {
    each: Duration,
    next: Instant,
}

// === impl StallDetector ===

impl StallDetector {
    /// One that beats as often, from now on.
    pub(crate) fn each(each: Duration) -> Self {
        Self { each, next: Instant::now() + each }
    }

    /// Waits for the next beat; says whether it came so late that the replica stood still. Nothing is lost when it is not
    /// waited for to the end.
    pub(crate) async fn beat(&mut self) -> bool {
        sleep_until(self.next).await;
        let missed = self.missed();
        self.rest();
        missed
    }

    /// Whether the next beat is overdue by so much.
    pub(crate) fn missed(&self) -> bool {
        Instant::now() > self.next + MISSED
    }

    /// Begins to count anew: after work that may take long, of which it is no sign.
    pub(crate) fn rest(&mut self) {
        self.next = Instant::now() + self.each;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const BEAT: Duration = Duration::from_millis(200);

    #[tokio::test(start_paused = true)]
    async fn a_late_beat_is_no_sign_and_a_very_late_one_is() {
        let mut stall_detector = StallDetector::each(BEAT);
        assert!(!stall_detector.beat().await);
        advance(BEAT + MISSED).await;
        assert!(!stall_detector.missed() && !stall_detector.beat().await);
        advance(BEAT + MISSED + Duration::from_millis(1)).await;
        assert!(stall_detector.missed() && stall_detector.beat().await);
        assert!(!stall_detector.missed() && !stall_detector.beat().await);
    }

    #[tokio::test(start_paused = true)]
    async fn long_work_is_no_sign() {
        let mut stall_detector = StallDetector::each(BEAT);
        advance(BEAT + MISSED * 2).await;
        stall_detector.rest();
        assert!(!stall_detector.missed() && !stall_detector.beat().await);
    }
}
