//! The receiver: it decodes and counts what lanes bring, and gives it to the scheduler.
//!
//! Must not know lanes beyond their names. A lane waits until the scheduler has taken what it brought, so a busy peer
//! is slowed down instead of piling up batches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use murmuration::event::Event;
use murmuration::id::{PoolId, ReplicaId};
use murmuration::replication::codec::{self, CodecError};
use murmuration::replication::{Batch, Fact, Record, card};

use super::lane::Lane;
use crate::scheduler::SchedulerHandle;
use crate::telemetry::Telemetry;

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reception {
    /// The scheduler took it in. It goes up to this number.
    Taken(u64),
    /// It is sound, and about a pool that is not served here.
    OtherPool,
    /// It was refused, or the scheduler did not take it in.
    Refused,
}

/// The receiver. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Receiver {
    me: ReplicaId,
    schedulers: Arc<BTreeMap<PoolId, SchedulerHandle>>,
    /// The pool that a lane is about; `None` for a lane that carries all.
    only: Option<PoolId>,
    telemetry: Telemetry,
    version: u8,
    /// The zone of this replica.
    zone: Arc<str>,
}

// === impl Receiver ===

impl Receiver {
    /// The receiver of `me` for the default pool.
    pub fn new(me: ReplicaId, scheduler: SchedulerHandle, telemetry: Telemetry) -> Self {
        Self::of_pools(me, std::iter::once((PoolId::default(), scheduler)), telemetry)
    }

    /// The receiver of `me` for these pools.
    pub fn of_pools(
        me: ReplicaId,
        schedulers: impl Iterator<Item = (PoolId, SchedulerHandle)>,
        telemetry: Telemetry,
    ) -> Self {
        Self {
            me,
            schedulers: Arc::new(schedulers.collect()),
            only: None,
            telemetry,
            version: codec::VERSION,
            zone: "".into(),
        }
    }

    /// The same receiver, for a lane that carries `pool` alone.
    #[must_use]
    pub fn only(self, pool: PoolId) -> Self {
        Self { only: Some(pool), ..self }
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
    /// at its other end; a batch of another origin is refused.
    pub async fn receive(&self, lane: Lane, from: &ReplicaId, bytes: &[u8]) -> Reception {
        self.receive_and(lane, from, bytes, |_| true).await
    }

    /// The same, and shows `also` a batch that is sound before the scheduler has it. Where `also` says that it can't be
    /// used, it is refused.
    pub async fn receive_and(
        &self,
        lane: Lane,
        from: &ReplicaId,
        bytes: &[u8],
        also: impl FnOnce(&Batch) -> bool,
    ) -> Reception {
        let decoded = match codec::decode_as(self.version, bytes) {
            Ok(decoded) => decoded,
            Err(CodecError::TooNew(_)) => return self.refuse(from, "too-new"),
            Err(_) => return self.refuse(from, "malformed"),
        };
        if decoded.skipped > 0 {
            self.ignore(from, "unknown-kind");
        }
        let batch = decoded.batch;
        if batch.origin != *from || batch.origin == self.me {
            return self.refuse(from, "not-the-origin");
        }
        let expected = self.only.as_ref().is_none_or(|only| batch.pool == *only);
        let Some(scheduler) = self.schedulers.get(&batch.pool).filter(|_| expected) else {
            self.telemetry.record(&Event::PoolNotServed { peer: from.clone(), pool: batch.pool });
            return Reception::OtherPool;
        };
        let age = batch.facts.iter().filter(|fact| fact.seq != Fact::HISTORY).map(|fact| fact.age).min();
        let (facts, upto) = (batch.facts.len(), batch.upto);
        let peer = from.clone();
        self.telemetry.record(&Event::BatchReceived { peer, lane: lane.as_str(), facts, bytes: bytes.len(), age });
        if !also(&batch) {
            return Reception::Refused;
        }
        if scheduler.received(batch).await { Reception::Taken(upto) } else { Reception::Refused }
    }

    /// Known prefix placements and session bindings of `pool`, for a joining peer; at most `most` of each.
    pub async fn history(&self, pool: &PoolId, most: usize) -> Vec<(Record, Duration)> {
        match self.schedulers.get(pool) {
            Some(scheduler) => scheduler.history(most).await,
            None => Vec::new(),
        }
    }

    /// Counts refused input of `from`, with the reason.
    pub fn ignore(&self, from: &ReplicaId, why: &'static str) {
        self.telemetry.record(&Event::PeerIgnored { peer: from.clone(), why });
    }

    fn refuse(&self, from: &ReplicaId, why: &'static str) -> Reception {
        self.ignore(from, why);
        Reception::Refused
    }

    /// The receiver of a replica in `zone`.
    #[must_use]
    pub fn in_zone(self, zone: &str) -> Self {
        Self { zone: zone.into(), ..self }
    }

    /// Counts the bytes of a batch or datagram that was sent to a peer in the zone `to`.
    pub fn count_sent(&self, lane: Lane, bytes: usize, to: &Arc<str>) {
        let far = card::are_apart(&self.zone, to);
        let zones = far.then(|| [self.zone.clone(), to.clone()]);
        self.telemetry.record(&Event::BytesSent { lane: lane.as_str(), bytes, zones });
    }

    /// Records an event of replication itself.
    pub fn emit(&self, event: &Event) {
        self.telemetry.record(event);
    }

    /// Tells all schedulers that a peer is lost.
    pub fn lost(&self, member: &murmuration::replication::Member) {
        let schedulers = self.schedulers.values();
        schedulers.for_each(|scheduler| scheduler.peer_lost(member.replica.clone(), member.incarnation));
    }
}
