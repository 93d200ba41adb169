//! Records the history: each fact with its source and its virtual time.
//!
//! Must not filter facts. The time of an entry is that of its tick.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use murmuration::time::Timestamp;

use crate::history::{Entry, Fact, Source};

/// The recorder. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Recorder(Arc<Mutex<Log>>);

#[derive(Default)]
struct Log {
    now: Duration,
    entries: Vec<Entry>,
}

// === impl Recorder ===

impl Recorder {
    /// Sets the virtual time.
    pub(super) fn advance(&self, now: Duration) {
        self.with_log(|log| log.now = now);
    }

    /// The virtual time.
    pub(super) fn now(&self) -> Duration {
        self.with_log(|log| log.now)
    }

    /// The virtual time as a timestamp of the engine model.
    pub(super) fn moment(&self) -> Timestamp {
        Timestamp::ZERO + self.now()
    }

    /// Records a fact that `by` observed now.
    pub(super) fn write(&self, by: Source, fact: Fact) {
        self.with_log(|log| log.entries.push(Entry { at: log.now, by, fact }));
    }

    /// Takes the entries recorded since the last call.
    pub(super) fn take(&self) -> Vec<Entry> {
        self.with_log(|log| std::mem::take(&mut log.entries))
    }

    fn with_log<T>(&self, with: impl FnOnce(&mut Log) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
