//! Takes in peers' facts. They go into the same columns as the scheduler's own, so no scorer can tell which replica
//! dispatched a request or took a reading.
//!
//! Must not know lanes, liveness or bytes.

use std::time::Duration;

use crate::event::Event;
use crate::fleet::{CacheLoss, Entry, Observation};
use crate::id::{EndpointId, EndpointKey, Incarnation, ReplicaId};
use crate::prefix::{PlacedAt, PlacedBy};
use crate::replication::{Batch, EndpointLoad, Fact, InFlightReport, News, Received, Record};
use crate::scheduler::{Outbox, PendingFacts, Scheduler};
use crate::time::Timestamp;

/// A placement older than this no longer counts as load: its request is in the engine's own gauges, or over. It still
/// says where blocks are.
const DISPATCH_LOAD_AGE_MAX: Duration = Duration::from_secs(1);
/// Readings by gossip are ignored until the peer has been known for this long. Earlier ones may have waited at other
/// peers, or in a stalled replica. The peer publishes them again with each reading.
const READING_TRUSTED_AFTER: Duration = Duration::from_millis(100);

/// Whether the ages of dispatches and of readings are reliable.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AgesReliable {
    dispatches: bool,
    readings: bool,
}

// === impl Scheduler: receiving ===

impl Scheduler {
    /// Starts on a batch: drops facts that are known already, and leaves the rest to [`Self::take_in_some`].
    pub fn receive(&mut self, batch: Batch, now: Timestamp, out: &mut Outbox) -> PendingFacts {
        let (origin, fragment) = (batch.origin.clone(), batch.after == Batch::FRAGMENT);
        let mut released = Vec::new();
        let received = self.peers.receive(batch, now, &mut released);
        released.into_iter().for_each(|endpoint| self.refold_all(endpoint));
        let readings = !fragment || self.peers.known_for(&origin, now) > READING_TRUSTED_AFTER;
        let why = match received {
            Received::News(News { peer, origin_key, facts, dated, refused }) => {
                if refused > 0 {
                    out.events.push(Event::PeerFactsRefused { peer: origin, facts: refused });
                }
                let dated = AgesReliable { dispatches: dated, readings };
                return PendingFacts { peer, origin: origin_key, dated, facts: facts.into_iter() };
            }
            Received::StaleIncarnation => "stale-incarnation",
            Received::TooManyPeers => "too-many-peers",
        };
        out.events.push(Event::PeerIgnored { peer: origin, why });
        PendingFacts { peer: 0, origin: 0, dated: AgesReliable::default(), facts: Vec::new().into_iter() }
    }

    pub(super) fn receive_batch(&mut self, batch: Batch, now: Timestamp, out: &mut Outbox) {
        let mut pending = self.receive(batch, now, out);
        self.take_in_some(&mut pending, usize::MAX, now, out);
    }

    /// Takes in at most `most` more facts; `false` when none are left.
    pub fn take_in_some(&mut self, pending: &mut PendingFacts, most: usize, now: Timestamp, out: &mut Outbox) -> bool {
        for fact in pending.facts.by_ref().take(most) {
            self.apply_fact((pending.peer, pending.origin), fact, pending.dated, now, out);
        }
        pending.facts.len() > 0
    }

    /// Drops the open work of a lost peer. Its placements stay known.
    pub(super) fn peer_lost(&mut self, replica: &ReplicaId, incarnation: Incarnation) {
        self.peers.lose(replica, incarnation).into_iter().for_each(|endpoint| self.refold_all(endpoint));
    }

    pub(super) fn unreachable(&mut self, endpoint: &EndpointId, now: Timestamp, out: &mut Outbox) {
        let reachable = |scheduler: &Self| {
            scheduler.fleet.slot(endpoint).and_then(|s| scheduler.fleet.get(s)).is_some_and(Entry::is_reachable)
        };
        let before = reachable(self);
        self.fleet.unreachable(endpoint);
        if before && !reachable(self) {
            self.announced.unreachable(endpoint.key(), now, &mut out.publish);
        }
    }

    fn apply_fact(
        &mut self,
        (peer, origin): (u32, u64),
        fact: Fact,
        dated: AgesReliable,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        let dated = match fact.seq {
            // It comes by stream, with its ages.
            Fact::HISTORY => AgesReliable { dispatches: true, readings: true },
            _ => dated,
        };
        match fact.record {
            Record::InFlight(InFlightReport { endpoint, .. }) | Record::Removed(endpoint) => {
                self.peers.settle(peer, endpoint);
                self.refold(endpoint);
            }
            Record::Placement(placement) => {
                let Some(slot) = self.fleet.named(placement.endpoint) else { return };
                // It may be older than it says, and must not outlive a loss of the engine's cache that came after it.
                let placed = if dated.dispatches { PlacedAt::new(now, fact.age) } else { PlacedAt::UNKNOWN };
                let by = (fact.seq != Fact::HISTORY).then_some(PlacedBy { origin, seq: fact.seq });
                self.place(slot, by, &placement.anchors, placed, now);
                // History says where blocks are, and not what load there is.
                if dated.dispatches && by.is_some() && fact.age <= DISPATCH_LOAD_AGE_MAX {
                    // A dispatch from before this replica's start can't be dated: all of them would get the same time.
                    if fact.age <= now.since(Timestamp::ZERO) {
                        self.count_dispatch(slot, now - fact.age);
                        self.burst.received(fact.age);
                    }
                    let measured = self.fleet.get(slot).and_then(Entry::measured);
                    self.peers.dispatched(peer, placement.endpoint, now - fact.age, measured, now);
                    self.refold(placement.endpoint);
                }
            }
            Record::PlacementRevoked(revoked) => {
                if let Some(slot) = self.fleet.named(revoked.endpoint) {
                    let by = PlacedBy { origin, seq: fact.seq };
                    self.revoke(slot, by, &revoked.anchors, usize::from(revoked.kept));
                }
            }
            // A reading from before this replica's start can't be dated: its age would be underestimated as this
            // replica's.
            Record::Load(_) | Record::Failing(_) if !dated.readings || fact.age > now.since(Timestamp::ZERO) => {}
            Record::Failing(failing) => self.receive_failing(peer, failing, fact.age, now),
            Record::Load(load) => self.receive_load(load, fact.age, now, out),
            Record::CacheCleared(cleared) => self.receive_cache_loss(cleared, fact.age, dated.readings, now, out),
            Record::Bound(binding) => self.receive_binding(binding, fact.age, now),
            Record::Unreachable(endpoint) => {
                if let Some(slot) = self.fleet.named(endpoint) {
                    self.fleet.lost(slot);
                }
            }
        }
    }

    fn receive_load(&mut self, load: EndpointLoad, age: Duration, now: Timestamp, out: &mut Outbox) {
        let Some(slot) = self.fleet.named(load.endpoint) else { return };
        let Some(entry) = self.fleet.get(slot) else { return };
        let (geometry, unfinished) = (load.report.cache, load.report.unfinished());
        let falls_asleep = entry.is_awake() && !load.report.awake;
        if !self.fleet.observe_at(slot, Observation { report: load.report, age }, now) {
            return;
        }
        self.learn(slot, geometry, unfinished, now - age, out);
        self.reported(load.endpoint, now - age);
        self.fleet.report_missing(slot, &mut out.events);
        // A keeper of an earlier release does not publish this loss.
        if falls_asleep {
            self.cache_lost(slot, CacheLoss::Asleep, PlacedAt::new(now, age), out);
        }
    }

    /// Expires peers' facts.
    pub(super) fn expire_peers(&mut self, now: Timestamp) {
        let mut released = Vec::new();
        self.peers.expire(now, &mut released);
        released.into_iter().for_each(|endpoint| self.refold(endpoint));
    }

    /// A report, own or a peer's, covers what peers dispatched before it.
    pub(super) fn reported(&mut self, endpoint: EndpointKey, measured: Timestamp) {
        if self.peers.reported(endpoint, measured) {
            self.refold(endpoint);
        }
    }

    /// Recomputes all that peers published about an endpoint.
    fn refold_all(&mut self, endpoint: EndpointKey) {
        self.refold(endpoint);
        self.refold_failures(endpoint);
    }

    /// Recomputes the sums of the peers' open work on an endpoint and of its speeds.
    pub(super) fn refold(&mut self, endpoint: EndpointKey) {
        if let Some(slot) = self.fleet.named(endpoint) {
            let (foreign, unseen, speed) = self.peers.open_work(endpoint);
            self.fleet.set_foreign(slot, foreign, unseen, speed);
        }
    }
}
