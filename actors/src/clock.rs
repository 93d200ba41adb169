//! The one place where a replica looks at a clock.
//!
//! Must not know what time is used for. Built on tokio's clock, so a paused or simulated runtime is obeyed.

use murmuration::time::Timestamp;
use tokio::time::Instant;

/// Turns tokio's instants into the replica's own timestamps.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: Instant,
}

// === impl Clock ===

impl Clock {
    /// A clock whose epoch is now.
    pub fn start() -> Self {
        Self { epoch: Instant::now() }
    }

    /// The time since the epoch.
    pub fn now(&self) -> Timestamp {
        self.at(Instant::now())
    }

    /// `instant` as a timestamp; the epoch when it lies before it.
    pub fn at(&self, instant: Instant) -> Timestamp {
        Timestamp::ZERO + instant.saturating_duration_since(self.epoch)
    }
}
