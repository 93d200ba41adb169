//! What this replica has received from its peers: per origin the incarnation, the numbers, and the open work on each
//! endpoint.
//!
//! Must not know lanes or liveness: its caller names the peers that are lost. It returns what a batch changes; the
//! scheduler applies it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::fleet::{Failures, InFlight, PrefillSpeed};
use crate::id::{EndpointKey, Incarnation, ReplicaId};
use crate::replication::record::{Batch, Fact, Record};
use crate::replication::sequence_window::SequenceWindow;
use crate::replication::table::{Noted, PeerNumber, Table};
use crate::time::Timestamp;

/// Peers that one replica accepts; more are refused, and counted.
pub const PEERS_MAX: usize = 256;
/// How long open work that a snapshot did not confirm still counts: a newer report on it may come with the next batch.
const UNCONFIRMED_MAX: Duration = Duration::from_secs(2);

/// Ages on a gossip page are those of its writing, so a page that was written before its peer was met may be older than
/// it says. From a peer that is known for longer than this, pages arrive as they are written.
const PAGES_DATED_AFTER: Duration = Duration::from_secs(1);

/// The result of receiving a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Received {
    /// Its new facts.
    News(News),
    /// It comes from an incarnation that has ended.
    StaleIncarnation,
    /// There are too many peers already.
    TooManyPeers,
}

/// The new facts of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct News {
    /// The origin: a number that is local to this replica, and valid until the peer is lost.
    pub peer: u32,
    /// A hash of the origin's name and incarnation, equal on all replicas. Never zero.
    pub origin_key: u64,
    /// The facts that were not known.
    pub facts: Vec<Fact>,
    /// Whether their ages are reliable: `false` for a page of a peer that was met a moment ago. History is reliable in
    /// any batch.
    pub dated: bool,
    /// Facts that found no room: the peer publishes about too many endpoints that are not in the pool.
    pub refused: usize,
}

/// One peer at a glance.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PeerSummary {
    /// The peer.
    pub replica: ReplicaId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The time since its last batch.
    pub quiet: Duration,
    /// The number up to which all facts were received.
    pub upto: u64,
    /// Batches that did not continue the facts received before.
    pub gaps: u64,
    /// Facts that were new.
    pub facts: u64,
    /// Facts that found no room; `0` unless the peer publishes about thousands of endpoints that this replica does not
    /// discover.
    pub refused: u64,
    /// Endpoints that it published about.
    pub endpoints: usize,
    /// Those of them that are not in this replica's pool.
    pub outside: usize,
    /// Its open work over all endpoints.
    pub in_flight: InFlight,
}

/// The peers.
#[derive(Debug, Default)]
pub struct Peers {
    peers: BTreeMap<ReplicaId, Peer>,
    table: Table,
    /// The numbers of peers that are not lost. Facts of a lost peer may still be waiting to be applied.
    numbers: BTreeSet<PeerNumber>,
    /// The number given to the newest peer.
    last_number: PeerNumber,
    /// Peers with unconfirmed open work, and since when, oldest first.
    unconfirmed: VecDeque<(Timestamp, PeerNumber)>,
    /// What was received of peers that are lost, the longest lost first. Their placements stay known, so a peer that
    /// comes back in the same incarnation must not have them applied anew, nor what revoked them.
    lost: VecDeque<LostPeer>,
}

#[derive(Debug)]
struct LostPeer {
    replica: ReplicaId,
    incarnation: Incarnation,
    placements: SequenceWindow,
}

#[derive(Debug)]
struct Peer {
    number: PeerNumber,
    incarnation: Incarnation,
    known_since: Timestamp,
    received_at: Timestamp,
    upto: u64,
    gaps: u64,
    facts: u64,
    refused: u64,
    /// The highest number of a fact on open work.
    newest_in_flight: u64,
    placements: SequenceWindow,
}

// === impl Peers ===

impl Peers {
    /// Discovery has added `endpoint`.
    pub fn enters(&mut self, endpoint: EndpointKey) {
        self.table.enters(endpoint);
    }

    /// Discovery has removed `endpoint`: what peers published about it is dropped once it can't matter.
    pub fn leaves(&mut self, endpoint: EndpointKey, now: Timestamp) {
        self.table.leaves(endpoint, now);
    }

    /// Takes a batch in at `now`. Facts that are not new (older than the known one, or received by the other lane) are
    /// left out. A newer incarnation of the origin starts from nothing: `released` gets the endpoints where the older
    /// one had open work.
    pub fn receive(&mut self, batch: Batch, now: Timestamp, released: &mut Vec<EndpointKey>) -> Received {
        let known = self.peers.get(&batch.origin).map(|peer| peer.incarnation);
        match known {
            Some(known) if known > batch.incarnation => return Received::StaleIncarnation,
            Some(known) if known < batch.incarnation => released.extend(self.forget(&batch.origin)),
            None if self.peers.len() >= PEERS_MAX => return Received::TooManyPeers,
            _ => {}
        }
        let origin_key = origin_key(&batch.origin, batch.incarnation);
        let (last_number, numbers, table) = (&mut self.last_number, &mut self.numbers, &mut self.table);
        let lost = &mut self.lost;
        let peer = self.peers.entry(batch.origin.clone()).or_insert_with(|| {
            *last_number = last_number.wrapping_add(1);
            numbers.insert(*last_number);
            let placements = known_of(lost, &batch.origin, batch.incarnation);
            Peer::new(*last_number, batch.incarnation, placements, now)
        });
        peer.received_at = now;
        let received_upto = peer.upto;
        if batch.after <= received_upto {
            peer.upto = received_upto.max(batch.upto);
            let range = (batch.after, batch.upto);
            if batch.after < peer.newest_in_flight && omits_open_work(table, peer.number, range, &batch.facts) {
                self.unconfirmed.push_back((now, peer.number));
            }
        } else if batch.after != Batch::FRAGMENT {
            peer.gaps += 1;
        }
        let dated = batch.after != Batch::FRAGMENT || now.since(peer.known_since) > PAGES_DATED_AFTER;
        let (mut facts, mut refused) = (batch.facts, 0);
        facts.retain(|fact| match peer.classify(fact, (received_upto, dated), table, now) {
            Noted::News => true,
            Noted::Old => false,
            Noted::Full => {
                refused += 1;
                false
            }
        });
        peer.facts += facts.len() as u64;
        peer.refused += refused as u64;
        Received::News(News { peer: peer.number, origin_key, facts, dated, refused })
    }

    /// A fact on the open work of `peer` on `endpoint` is applied, after all dispatches that were published before it.
    pub fn settle(&mut self, peer: u32, endpoint: EndpointKey) {
        self.table.settle(peer, endpoint);
    }

    /// Records the counts of an endpoint's answers that `peer` published.
    pub fn set_failures(&mut self, peer: u32, endpoint: EndpointKey, failures: Failures) {
        self.table.set_failures(peer, endpoint, failures);
    }

    /// Peers' counts of an endpoint's answers, where they saw failures.
    pub fn failures(&self, endpoint: EndpointKey) -> Vec<Failures> {
        self.table.failures(endpoint)
    }

    /// Records that `peer` dispatched a request at `at` to an endpoint whose last report was made at `measured`.
    pub fn dispatched(
        &mut self,
        peer: u32,
        endpoint: EndpointKey,
        at: Timestamp,
        measured: Option<Timestamp>,
        now: Timestamp,
    ) {
        if self.numbers.contains(&peer) {
            self.table.dispatched(peer, endpoint, at, measured, now);
        }
    }

    /// Records that the endpoint's report made at `measured` arrived; `false` when it changes nothing about peers'
    /// dispatches.
    pub fn reported(&mut self, endpoint: EndpointKey, measured: Timestamp) -> bool {
        self.table.reported(endpoint, measured)
    }

    /// The open work of all peers on `endpoint`, how many of their requests its last report can't include, and how fast
    /// they saw it compute; `None` if one of them does not say it.
    pub fn open_work(&self, endpoint: EndpointKey) -> (InFlight, usize, Option<PrefillSpeed>) {
        self.table.open_work(endpoint)
    }

    /// Drops what can't matter any more at `now`. Open work that a snapshot did not confirm is void; `released` gets
    /// its endpoints.
    pub fn expire(&mut self, now: Timestamp, released: &mut Vec<EndpointKey>) {
        self.table.expire(now);
        while let Some(&(since, peer)) = self.unconfirmed.front()
            && now.since(since) >= UNCONFIRMED_MAX
        {
            self.unconfirmed.pop_front();
            self.table.void_unconfirmed(peer, released);
        }
    }

    /// Drops a lost peer, unless it is known in a later incarnation than this; returns the endpoints it had work on.
    pub fn lose(&mut self, replica: &ReplicaId, incarnation: Incarnation) -> Vec<EndpointKey> {
        match self.peers.get(replica) {
            Some(peer) if peer.incarnation <= incarnation => self.forget(replica),
            _ => Vec::new(),
        }
    }

    /// The number up to which all facts of `replica` in this incarnation were received.
    pub fn upto(&self, replica: &ReplicaId, incarnation: Incarnation) -> u64 {
        self.peers.get(replica).filter(|peer| peer.incarnation == incarnation).map_or(0, |peer| peer.upto)
    }

    /// How long `replica` has been known in its current incarnation, without having been lost.
    pub fn known_for(&self, replica: &ReplicaId, now: Timestamp) -> Duration {
        self.peers.get(replica).map_or(Duration::ZERO, |peer| now.since(peer.known_since))
    }

    /// How many peers are known.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether no peer is known: none was received from, or all are lost.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// How many pairs of a peer and an endpoint are remembered.
    pub fn remembered(&self) -> usize {
        self.table.len()
    }

    /// The peers, ordered by name.
    pub fn summary(&self, now: Timestamp) -> Vec<PeerSummary> {
        let sums = self.table.sums();
        let summary = |(replica, peer): (&ReplicaId, &Peer)| {
            let (in_flight, endpoints) = sums.get(&peer.number).copied().unwrap_or_default();
            PeerSummary {
                replica: replica.clone(),
                incarnation: peer.incarnation,
                quiet: now.since(peer.received_at),
                upto: peer.upto,
                gaps: peer.gaps,
                facts: peer.facts,
                refused: peer.refused,
                endpoints,
                outside: self.table.outside(peer.number),
                in_flight,
            }
        };
        self.peers.iter().map(summary).collect()
    }

    fn forget(&mut self, replica: &ReplicaId) -> Vec<EndpointKey> {
        let Some(peer) = self.peers.remove(replica) else { return Vec::new() };
        let Peer { incarnation, placements, .. } = peer;
        if self.lost.len() >= PEERS_MAX {
            self.lost.pop_front();
        }
        self.lost.push_back(LostPeer { replica: replica.clone(), incarnation, placements });
        self.numbers.remove(&peer.number);
        self.unconfirmed.retain(|(_, number)| *number != peer.number);
        self.table.forget(peer.number)
    }
}

fn origin_key(replica: &ReplicaId, incarnation: Incarnation) -> u64 {
    xxh3_64_with_seed(replica.0.as_bytes(), incarnation.0).max(1)
}

/// The numbers that are known of `replica` in this incarnation from before it was lost. Those of an earlier one are
/// dropped: it has ended, and sends no more.
fn known_of(lost: &mut VecDeque<LostPeer>, replica: &ReplicaId, incarnation: Incarnation) -> SequenceWindow {
    let at = lost.iter().position(|peer| peer.replica == *replica && peer.incarnation <= incarnation);
    let known = at.and_then(|at| lost.remove(at)).filter(|peer| peer.incarnation == incarnation);
    known.map_or_else(SequenceWindow::new, |peer| peer.placements)
}

/// Whether the facts of a batch omit open work that was received before under a number in the `range` that the batch
/// covers. Marks that work as unconfirmed.
fn omits_open_work(table: &mut Table, peer: PeerNumber, range: (u64, u64), facts: &[Fact]) -> bool {
    let in_flight = facts.iter().filter(|fact| fact.record.open_work().is_some());
    let mut published: Vec<u64> = in_flight.map(|fact| fact.seq).collect();
    published.sort_unstable();
    table.mark_unconfirmed(peer, range, &published)
}

// === impl Peer ===

impl Peer {
    fn new(number: PeerNumber, incarnation: Incarnation, placements: SequenceWindow, known_since: Timestamp) -> Self {
        Self {
            number,
            incarnation,
            known_since,
            received_at: Timestamp::ZERO,
            upto: 0,
            gaps: 0,
            facts: 0,
            refused: 0,
            newest_in_flight: 0,
            placements,
        }
    }

    /// Whether `fact` is new; `received_upto` is the number up to which all facts were received before its batch. A
    /// placement that is not `dated` stays new: the peer stream sends it again, with its age.
    fn classify(
        &mut self,
        fact: &Fact,
        (received_upto, dated): (u64, bool),
        table: &mut Table,
        now: Timestamp,
    ) -> Noted {
        let Some(subject) = fact.record.subject() else {
            let stays_new = !dated && matches!(fact.record, Record::Placement(_) | Record::PlacementRevoked(_));
            let news = match fact.seq {
                Fact::HISTORY => true,
                seq if stays_new => !self.placements.has(seq),
                seq => self.placements.first_time(seq),
            };
            return if news { Noted::News } else { Noted::Old };
        };
        let open = fact.record.open_work();
        if open.is_some_and(|(_, speed)| table.completes(self.number, subject, fact.seq, speed)) {
            return Noted::News;
        }
        // All facts that count up to there were received. Another one is out of date, even if nothing of it is
        // remembered.
        if fact.seq <= received_upto {
            return Noted::Old;
        }
        if open.is_some() {
            self.newest_in_flight = self.newest_in_flight.max(fact.seq);
        }
        table.note(self.number, subject, fact.seq, open, now)
    }
}

#[cfg(test)]
#[path = "peers_tests.rs"]
mod tests;
