//! The receiver: it decodes and counts what lanes bring, and gives it to the scheduler.
//!
//! Must not know lanes beyond their names. A lane waits until the scheduler has taken what it brought, so a busy peer
//! is slowed down instead of piling up batches.

use std::time::Duration;

use murmuration::event::Event;
use murmuration::id::ReplicaId;
use murmuration::replication::codec::{self, CodecError};
use murmuration::replication::{Fact, Record};

use super::lane::Lane;
use crate::scheduler::SchedulerHandle;
use crate::telemetry::Telemetry;

/// The receiver. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Receiver {
    me: ReplicaId,
    scheduler: SchedulerHandle,
    telemetry: Telemetry,
    version: u8,
}

// === impl Receiver ===

impl Receiver {
    /// The receiver of `me`.
    pub fn new(me: ReplicaId, scheduler: SchedulerHandle, telemetry: Telemetry) -> Self {
        Self { me, scheduler, telemetry, version: codec::VERSION }
    }

    /// The receiver of a replica that understands no later wire version than `version`.
    #[must_use]
    pub fn upto(self, version: u8) -> Self {
        Self { version, ..self }
    }

    /// The highest wire version that it understands.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// Decodes what `from` sent by `lane`, and gives it to the scheduler. `from` is the peer that the lane knows to be
    /// at its other end; a batch of another origin is refused. Returns the number that the batch goes up to; `None`
    /// when it was not taken.
    pub async fn receive(&self, lane: Lane, from: &ReplicaId, bytes: &[u8]) -> Option<u64> {
        let decoded = match codec::decode_as(self.version, bytes) {
            Ok(decoded) => decoded,
            Err(CodecError::TooNew(_)) => return self.ignore(from, "too-new"),
            Err(_) => return self.ignore(from, "malformed"),
        };
        if decoded.skipped > 0 {
            self.ignore(from, "unknown-kind");
        }
        let batch = decoded.batch;
        if batch.origin != *from || batch.origin == self.me {
            return self.ignore(from, "not-the-origin");
        }
        let age = batch.facts.iter().filter(|fact| fact.seq != Fact::HISTORY).map(|fact| fact.age).min();
        let (facts, upto) = (batch.facts.len(), batch.upto);
        let peer = from.clone();
        self.telemetry.record(&Event::BatchReceived { peer, lane: lane.as_str(), facts, bytes: bytes.len(), age });
        self.scheduler.received(batch).await.then_some(upto)
    }

    /// Known prefix placements and session bindings, for a joining peer; at most `most` of each.
    pub async fn history(&self, most: usize) -> Vec<(Record, Duration)> {
        self.scheduler.history(most).await
    }

    /// Counts refused input of `from`, with the reason. Always returns `None`.
    pub fn ignore(&self, from: &ReplicaId, why: &'static str) -> Option<u64> {
        self.telemetry.record(&Event::PeerIgnored { peer: from.clone(), why });
        None
    }

    /// Counts the bytes of a sent batch or datagram.
    pub fn count_sent(&self, lane: Lane, bytes: usize) {
        self.telemetry.record(&Event::BatchSent { lane: lane.as_str(), bytes });
    }

    /// Records an event of replication itself.
    pub fn emit(&self, event: &Event) {
        self.telemetry.record(event);
    }

    /// Tells the scheduler that a peer is lost.
    pub fn lost(&self, member: &murmuration::replication::Member) {
        self.scheduler.peer_lost(member.replica.clone(), member.incarnation);
    }
}
