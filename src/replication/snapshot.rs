//! What a lane takes from the fact log at one moment: encoded facts, cheap to take and written without the log.
//!
//! Must not know lanes. Taking one clones references only, so the log is blocked for microseconds, however long the
//! writing takes.

use std::time::Duration;

use crate::id::{Incarnation, PoolId, ReplicaId};
use crate::replication::codec::CodecError;
use crate::replication::encoded::{self, EncodedFact, Header};
use crate::replication::record::{Batch, Subject};

/// Facts that continue what a follower received.
#[derive(Clone, Debug)]
pub struct FactBatch {
    pub(super) origin: ReplicaId,
    pub(super) incarnation: Incarnation,
    pub(super) pool: PoolId,
    /// They continue the facts up to this number.
    pub after: u64,
    /// The highest number that they cover.
    pub upto: u64,
    pub(super) facts: Vec<EncodedFact>,
}

/// All that gossip publishes: the newest fact on each subject, and placements.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) origin: ReplicaId,
    pub(super) incarnation: Incarnation,
    pub(super) pool: PoolId,
    /// The highest wire version that its origin writes.
    pub(super) version: u8,
    pub(super) head: u64,
    /// The newest facts, ordered by subject.
    pub(super) newest_facts: Vec<NewestFact>,
    /// Placements and bindings, oldest first.
    pub(super) placements: Vec<EncodedFact>,
}

/// The newest fact on a subject.
#[derive(Clone, Debug)]
pub(super) struct NewestFact {
    pub(super) subject: Subject,
    /// The age up to which it is worth a place in a page.
    pub(super) counts_for: Duration,
    /// Whether its endpoint was removed.
    pub(super) removed: bool,
    pub(super) fact: EncodedFact,
}

// === impl FactBatch ===

impl FactBatch {
    /// The bytes of the batch, for a reader of wire version `version`.
    ///
    /// # Errors
    /// [`CodecError::TooLarge`] when there are too many.
    pub fn bytes(&self, version: u8) -> Result<Vec<u8>, CodecError> {
        let Self { origin, incarnation, pool, after, upto, facts } = self;
        let header = Header { origin, incarnation: *incarnation, pool, after: *after, upto: *upto };
        encoded::write(version, header, facts)
    }

    /// How many facts there are.
    pub fn len(&self) -> usize {
        self.facts.len()
    }

    /// Whether there are none: what was published since no longer counts.
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// The bytes of a fragment with these facts, for readers of wire version `version`.
    ///
    /// # Errors
    /// [`CodecError::TooLarge`] when there are too many.
    pub(super) fn fragment(&self, version: u8, facts: &[EncodedFact]) -> Result<Vec<u8>, CodecError> {
        let Self { origin, incarnation, pool, head, .. } = self;
        let header = Header { origin, incarnation: *incarnation, pool, after: Batch::FRAGMENT, upto: *head };
        encoded::write(version, header, facts)
    }
}
