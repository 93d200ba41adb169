//! The one place where a replica looks at a clock.
//!
//! Must not know what time is used for. Built on tokio's clock, so a paused or simulated runtime is obeyed.

use std::fmt;

use murmuration::time::Timestamp;
use tokio::time::Instant;

/// How a clock that is not right reads an instant. SchedulerStarts as long as the program: a few bytes for each clock.
pub type Dial = &'static (dyn Fn(Instant) -> Timestamp + Send + Sync);

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

    /// A clock that is read by `dial`, which never goes back.
    pub fn read_by(dial: Dial) -> Self {
        Self { epoch: Instant::now(), dial: Some(dial) }
    }

    /// The time since the epoch.
    pub fn now(&self) -> Timestamp {
        self.at(Instant::now())
    }

    /// `instant` as a timestamp; the epoch when it lies before it.
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
