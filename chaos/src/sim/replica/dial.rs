//! A replica's clock that can run too fast or too slow.
//!
//! Must not know why. It never goes back, and only what is read from it is wrong: timers ring when they should.

use std::sync::{Mutex, PoisonError};

use murmuration::time::Timestamp;
use murmuration_actors::clock::Clock;
use tokio::time::Instant;

/// The clock. Each lives as long as the program, as [`Clock::read_by`] wants it; they are few and small.
#[derive(Debug)]
pub(super) struct Dial(Mutex<Reading>);

#[derive(Debug)]
struct Reading {
    /// What it read at an instant.
    at: (Instant, Timestamp),
    ppm: i32,
}

// === impl Dial ===

impl Dial {
    /// A clock that is right, and begins now. To be called within the replica's runtime.
    pub(super) fn start() -> &'static Self {
        let reading = Reading { at: (Instant::now(), Timestamp::ZERO), ppm: 0 };
        Box::leak(Box::new(Self(Mutex::new(reading))))
    }

    /// The replica's clock.
    pub(super) fn clock(&'static self) -> Clock {
        Clock::read_by(Box::leak(Box::new(|instant| self.read(instant))))
    }

    /// It runs so many parts in a million too fast from when it is read next.
    pub(super) fn turn(&self, ppm: i32) {
        let mut reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reading.ppm = ppm;
    }

    fn read(&self, instant: Instant) -> Timestamp {
        let mut reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, was) = reading.at;
        // Someone may ask for an instant that has passed.
        let since = instant.saturating_duration_since(before);
        let now = was + since.mul_f64(1.0 + f64::from(reading.ppm) / 1e6);
        reading.at = (before.max(instant), now);
        now
    }
}
