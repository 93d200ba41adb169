//! The only place where a replica reads a clock.
//!
//! Must not know what time is used for. Built on tokio's clock, so a paused or simulated runtime sets the time.

use std::fmt;

use murmuration::time::Timestamp;
use tokio::time::Instant;

/// Maps an instant to a timestamp, for a clock that is wrong. It lives as long as the program: a few bytes per clock.
pub type Dial = &'static (dyn Fn(Instant) -> Timestamp + Send + Sync);

/// The time of the calendar, as RFC 3339 in seconds. It is for people alone: nothing is decided by it.
pub(crate) fn wall_clock() -> String {
    format!("{:.0}", k8s_openapi::jiff::Timestamp::now())
}

/// Turns tokio's instants into the replica's own timestamps.
#[derive(Clone, Copy)]
pub struct Clock {
    epoch: Instant,
    dial: Option<Dial>,
}

// === impl Clock ===

impl Clock {
    /// A clock whose epoch is now.
    pub fn start() -> Self {
        Self { epoch: Instant::now(), dial: None }
    }

    /// A clock that reads time through `dial`, which must never go back.
    pub fn read_by(dial: Dial) -> Self {
        Self { epoch: Instant::now(), dial: Some(dial) }
    }

    /// The time since the epoch.
    pub fn now(&self) -> Timestamp {
        self.at(Instant::now())
    }

    /// `instant` as a timestamp; zero when it is before the epoch.
    pub fn at(&self, instant: Instant) -> Timestamp {
        match self.dial {
            None => Timestamp::ZERO + instant.saturating_duration_since(self.epoch),
            Some(dial) => dial(instant),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}
