//! Writes the chronicle: who saw what, at which virtual time.
//!
//! Must not know what is worth writing. Times are those of ticks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use murmuration::time::Timestamp;

use crate::chronicle::{Entry, Fact, Witness};

/// The scribe. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Scribe(Arc<Mutex<Pages>>);

#[derive(Default)]
struct Pages {
    now: Duration,
    entries: Vec<Entry>,
}

// === impl Scribe ===

impl Scribe {
    /// Time is `now`.
    pub(super) fn advance(&self, now: Duration) {
        self.pages(|pages| pages.now = now);
    }

    /// The time.
    pub(super) fn now(&self) -> Duration {
        self.pages(|pages| pages.now)
    }

    /// The time, as engines have it.
    pub(super) fn moment(&self) -> Timestamp {
        Timestamp::ZERO + self.now()
    }

    /// Writes what `by` saw now.
    pub(super) fn write(&self, by: Witness, fact: Fact) {
        self.pages(|pages| pages.entries.push(Entry { at: pages.now, by, fact }));
    }

    /// All that was written since the last time.
    pub(super) fn take(&self) -> Vec<Entry> {
        self.pages(|pages| std::mem::take(&mut pages.entries))
    }

    fn pages<T>(&self, with: impl FnOnce(&mut Pages) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
