//! What the scheduler makes of its peers' facts: they are folded into the same columns as its own, so that no scorer can tell
//! whose dispatch or whose reading it looks at.
//!
//! Must not know lanes, liveness or bytes.

use std::time::Duration;

use crate::event::Event;
use crate::fleet::{CacheLoss, Entry, Observation};
use crate::id::{EndpointId, EndpointKey, Incarnation, ReplicaId};
use crate::prefix::PlacedAt;
use crate::replication::{Batch, EndpointLoad, Fact, InFlightReport, News, Received, Record};
use crate::scheduler::{Outbox, PendingFacts, Scheduler};
use crate::time::Timestamp;

/// A placement older than this is in the engine's own gauges by now, or over: it says where blocks are, and no more what
/// load there is.
const DISPATCH_COUNTS: Duration = Duration::from_secs(1);
/// Rounds of gossip after a peer was met in which what it says of engines may have lain with others, or in a replica that
/// stood still. It says all of it anew with each reading.
const READING_COUNTS: Duration = Duration::from_millis(100);

/// Whether ages are true, of facts that count for so long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dated {
    dispatches: bool,
    readings: bool,
}

// === impl Scheduler: hearing ===

impl Scheduler {
    /// Begins to take a batch in: drops what is not news, and leaves the rest to [`Self::take_in_some`].
    pub fn receive(&mut self, batch: Batch, now: Timestamp, out: &mut Outbox) -> PendingFacts {
        let (origin, fragment) = (batch.origin.clone(), batch.after == Batch::FRAGMENT);
        let mut released = Vec::new();
        let hearing = self.peers.receive(batch, now, &mut released);
        released.into_iter().for_each(|endpoint| self.refold_all(endpoint));
        // A page of gossip is as young as when it was written; those that are there when a peer is met are older.
        let acquainted = |for_at_least| !fragment || self.peers.acquaintance(&origin, now) > for_at_least;
        let dated = Dated { dispatches: acquainted(DISPATCH_COUNTS), readings: acquainted(READING_COUNTS) };
        let why = match hearing {
            Received::News(News { peer, facts, refused }) => {
                if refused > 0 {
                    out.events.push(Event::PeerFactsRefused { peer: origin, facts: refused });
                }
                return PendingFacts { peer, dated, facts: facts.into_iter() };
            }
            Received::StaleIncarnation => "past-life",
            Received::TooManyPeers => "too-many-peers",
        };
        out.events.push(Event::PeerIgnored { peer: origin, why });
        PendingFacts { peer: 0, dated, facts: Vec::new().into_iter() }
    }

    pub(super) fn heard(&mut self, batch: Batch, now: Timestamp, out: &mut Outbox) {
        let mut unheard = self.receive(batch, now, out);
        self.take_in_some(&mut unheard, usize::MAX, now, out);
    }

    /// Takes at most `most` more facts in; `false` when there are no more.
    pub fn take_in_some(&mut self, unheard: &mut PendingFacts, most: usize, now: Timestamp, out: &mut Outbox) -> bool {
        for fact in unheard.facts.by_ref().take(most) {
            self.take_in(unheard.peer, fact, unheard.dated, now, out);
        }
        unheard.facts.len() > 0
    }

    /// A peer that is gone has nothing in flight that anybody waits for; where it placed prefixes stays known.
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
            self.said.unreachable(endpoint.key(), now, &mut out.publish);
        }
    }

    fn take_in(&mut self, peer: u32, fact: Fact, dated: Dated, now: Timestamp, out: &mut Outbox) {
        match fact.record {
            Record::InFlight(InFlightReport { endpoint, .. }) | Record::Removed(endpoint) => {
                self.peers.settle(peer, endpoint);
                self.refold(endpoint);
            }
            Record::Placement(placement) => {
                let Some(slot) = self.fleet.named(placement.endpoint) else { return };
                self.place(slot, &placement.anchors, PlacedAt::new(now, fact.age));
                if fact.age <= DISPATCH_COUNTS {
                    // From before this replica's birth it can't be dated, and all such would share one moment.
                    if dated.dispatches && fact.age <= now.since(Timestamp::ZERO) {
                        self.burst.dispatched(now - fact.age);
                        self.burst.heard(fact.age);
                    }
                    let measured = self.fleet.get(slot).and_then(Entry::measured);
                    self.peers.dispatched(peer, placement.endpoint, now - fact.age, measured, now);
                    self.refold(placement.endpoint);
                }
            }
            Record::PlacementRevoked(revoked) => {
                if let Some(slot) = self.fleet.named(revoked.endpoint) {
                    self.index.shorten(slot, &revoked.anchors, usize::from(revoked.kept));
                }
            }
            // Made before this replica was born, it can't be dated: it would seem as young as the replica is.
            Record::Load(_) | Record::Failing(_) if !dated.readings || fact.age > now.since(Timestamp::ZERO) => {}
            Record::Failing(failing) => self.heard_failing(peer, failing, fact.age, now),
            Record::Load(word) => self.heard_load(word, fact.age, now, out),
            Record::CacheCleared(word) => {
                // What a stream tells as history has its own true age.
                let dated = dated.readings || fact.seq == Fact::HISTORY;
                self.heard_cache(word, fact.age, dated, now, out);
            }
            Record::Bound(binding) => self.heard_binding(binding, fact.age, now),
            Record::Unreachable(endpoint) => {
                if let Some(slot) = self.fleet.named(endpoint) {
                    self.fleet.lost(slot);
                }
            }
        }
    }

    fn heard_load(&mut self, word: EndpointLoad, age: Duration, now: Timestamp, out: &mut Outbox) {
        let Some(slot) = self.fleet.named(word.endpoint) else { return };
        let Some(entry) = self.fleet.get(slot) else { return };
        let (geometry, unfinished) = (word.report.cache, word.report.unfinished());
        let falls_asleep = entry.is_awake() && !word.report.awake;
        if !self.fleet.observe_at(slot, Observation { report: word.report, age }, now) {
            return;
        }
        self.learn(slot, geometry, unfinished, now - age, out);
        self.reported(word.endpoint, now - age);
        self.fleet.tell_missing(slot, &mut out.events);
        // A keeper of an earlier release does not say it.
        if falls_asleep {
            self.cache_lost(slot, CacheLoss::Asleep, PlacedAt::new(now, age), out);
        }
    }

    /// Time passed for what peers said.
    pub(super) fn expire_heard(&mut self, now: Timestamp) {
        let mut released = Vec::new();
        self.peers.expire(now, &mut released);
        released.into_iter().for_each(|endpoint| self.refold(endpoint));
    }

    /// A report, own or heard, knows of what peers dispatched before it.
    pub(super) fn reported(&mut self, endpoint: EndpointKey, measured: Timestamp) {
        if self.peers.reported(endpoint, measured) {
            self.refold(endpoint);
        }
    }

    /// Gathers all anew that peers said of an endpoint.
    fn refold_all(&mut self, endpoint: EndpointKey) {
        self.refold(endpoint);
        self.refold_failures(endpoint);
    }

    /// Sums the peers' open work on an endpoint anew.
    pub(super) fn refold(&mut self, endpoint: EndpointKey) {
        if let Some(slot) = self.fleet.named(endpoint) {
            let (foreign, unseen) = self.peers.open_work(endpoint);
            self.fleet.set_foreign(slot, foreign, unseen);
        }
    }
}
