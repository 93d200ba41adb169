//! A replica's clock that can run too fast or too slow.
//!
//! Must not know which fault set its rate. It never goes back. Only its readings are wrong: timers fire on time.

use std::sync::{Mutex, PoisonError};

use murmuration::time::Timestamp;
use murmuration_actors::clock::Clock;
use tokio::time::Instant;

/// The clock. Each is leaked, because [`Clock::read_by`] needs a `'static` function; they are few and small.
#[derive(Debug)]
pub(super) struct DriftingClock(Mutex<Reading>);

#[derive(Debug)]
struct Reading {
    /// The instant of the last reading, and the reading.
    at: (Instant, Timestamp),
    /// How much too fast it runs, in parts per million.
    ppm: i32,
}

// === impl DriftingClock ===

impl DriftingClock {
    /// A clock at the right rate that starts now. Must be called within the replica's runtime.
    pub(super) fn start() -> &'static Self {
        let reading = Reading { at: (Instant::now(), Timestamp::ZERO), ppm: 0 };
        Box::leak(Box::new(Self(Mutex::new(reading))))
    }

    /// The clock to give to the replica.
    pub(super) fn clock(&'static self) -> Clock {
        Clock::read_by(Box::leak(Box::new(|instant| self.read(instant))))
    }

    /// Lets it run `ppm` parts per million too fast from its last reading on; too slow if negative.
    pub(super) fn turn(&self, ppm: i32) {
        let mut reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reading.ppm = ppm;
    }

    fn read(&self, instant: Instant) -> Timestamp {
        let mut reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, was) = reading.at;
        // The instant may lie before the last reading.
        let since = instant.saturating_duration_since(before);
        let now = was + since.mul_f64(1.0 + f64::from(reading.ppm) / 1e6);
        reading.at = (before.max(instant), now);
        now
    }
}
