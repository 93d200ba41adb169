//! How fast a request must arrive: when its next piece is due.
//!
//! Must not know messages or clocks; times are arguments.

use std::time::Duration;

use tokio::time::Instant;

use super::settings::Limits;

/// The time after a request's first message in which its rate is not checked.
const GRACE: Duration = Duration::from_secs(10);

/// A deadline that is noticed this long after it passed was missed because this replica stalled.
const STALLED: Duration = Duration::from_secs(1);

/// The arrival of one request so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    began: Instant,
    bytes: u64,
    /// How long this replica itself delayed the request.
    held_up: Duration,
}

// === impl Pace ===

impl Pace {
    /// The request's first message came at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, bytes: 0, held_up: Duration::ZERO }
    }

    /// This many bytes arrived, and this replica delayed them by `held_up`.
    pub(super) fn came(&mut self, bytes: usize, held_up: Duration) {
        self.bytes += bytes as u64;
        self.held_up += held_up;
    }

    /// A deadline passed and is noticed at `now`. Returns `true` if this replica stalled; then the client gets the time
    /// back.
    pub(super) fn excuses(&mut self, deadline: Instant, now: Instant) -> bool {
        let late = now.saturating_duration_since(deadline);
        let excused = late >= STALLED;
        if excused {
            self.held_up += late + STALLED;
        }
        excused
    }

    /// When the next piece is due, as of `now`.
    pub(super) fn deadline(&self, limits: &Limits, now: Instant) -> Instant {
        let began = self.began + self.held_up;
        let whole = began + limits.arrival_max;
        // A rate of zero disables this check.
        let steady = self.bytes.checked_div(limits.body_rate_min).map(Duration::from_secs);
        let steady = steady.map_or(whole, |earned| began + GRACE + earned.min(limits.arrival_max));
        whole.min(steady).min(now + limits.body_idle)
    }

    /// The message to a client whose next piece did not arrive in time.
    pub(super) fn error(&self, limits: &Limits, now: Instant) -> String {
        let (bytes, seconds) = (self.bytes, now.duration_since(self.began).as_secs());
        let (whole, idle, rate) = (limits.arrival_max.as_secs(), limits.body_idle.as_secs(), limits.body_rate_min);
        format!(
            "the request came too slowly: {bytes} bytes of its body in {seconds} s; it must be whole within {whole} s, \
             never pause for {idle} s, and come at {rate} bytes/s or faster"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> Limits {
        Limits { arrival_max: 100 * SECOND, body_idle: 30 * SECOND, body_rate_min: 1_000, ..Limits::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn the_nearest_of_idleness_rate_and_deadline_counts() {
        let (start, limits) = (Instant::now(), limits());
        let mut pace = Pace::new(start);
        assert_eq!(pace.deadline(&limits, start), start + GRACE, "nothing came, so the rate is the nearest");
        pace.came(50_000, Duration::ZERO);
        assert_eq!(pace.deadline(&limits, start), start + 30 * SECOND, "ahead of its rate, it may pause");
        assert_eq!(pace.deadline(&limits, start + 40 * SECOND), start + GRACE + 50 * SECOND);
        pace.came(10_000_000, Duration::ZERO);
        assert_eq!(pace.deadline(&limits, start + 90 * SECOND), start + 100 * SECOND, "however fast, it must end");
    }

    #[tokio::test(start_paused = true)]
    async fn what_this_replica_held_up_is_not_the_clients_fault() {
        let (start, limits) = (Instant::now(), limits());
        let mut pace = Pace::new(start);
        pace.came(0, 5 * SECOND);
        assert_eq!(pace.deadline(&limits, start), start + GRACE + 5 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_stalled_gives_the_time_back() {
        let (start, limits) = (Instant::now(), limits());
        let mut pace = Pace::new(start);
        let (deadline, woke) = (pace.deadline(&limits, start), start + 20 * SECOND);
        assert!(!pace.excuses(deadline, deadline + SECOND / 10), "it was just slow");
        assert!(pace.excuses(deadline, woke));
        assert_eq!(pace.deadline(&limits, woke), woke + SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_of_zero_asks_for_none() {
        let (start, limits) = (Instant::now(), Limits { body_rate_min: 0, ..limits() });
        assert_eq!(Pace::new(start).deadline(&limits, start), start + 30 * SECOND);
    }
}
