//! What this replica has heard of the others: per origin its life, its numbers, and its open work on each endpoint.
//!
//! Must not know lanes or liveness: who is lost is said to it. It says what a batch changes; the scheduler changes it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::Serialize;

use crate::fleet::{Failures, InFlight};
use crate::id::{EndpointKey, Incarnation, ReplicaId};
use crate::replication::record::{Batch, Fact};
use crate::replication::sequence_window::SequenceWindow;
use crate::replication::table::{Noted, PeerNumber, Table};
use crate::time::Timestamp;

/// Peers that one replica listens to; more are refused, and counted.
pub const PEERS_MAX: usize = 256;
/// How long open work that a snapshot did not confirm still counts: it may have been said anew, and come with the next batch.
const DOUBT_LASTS: Duration = Duration::from_secs(2);

/// What became of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Received {
    /// What is news of it.
    News(News),
    /// It comes from a life that is over.
    StaleIncarnation,
    /// There are too many peers already.
    TooManyPeers,
}

/// What is news of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct News {
    /// Who said it: a number of this replica's own, for as long as the peer is not lost.
    pub peer: u32,
    /// Those facts that were not known.
    pub facts: Vec<Fact>,
    /// Facts that found no room: the peer speaks of too many endpoints that are not in the pool.
    pub refused: usize,
}

/// One peer at a glance.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PeerSummary {
    /// Who.
    pub replica: ReplicaId,
    /// In which life.
    pub incarnation: Incarnation,
    /// Since its last batch.
    pub quiet: Duration,
    /// The number up to which all was heard.
    pub upto: u64,
    /// Batches that did not continue what was heard.
    pub gaps: u64,
    /// Facts that were news.
    pub facts: u64,
    /// Facts that found no room; `0` unless the peer speaks of thousands of endpoints that this replica does not discover.
    pub refused: u64,
    /// Endpoints that it spoke of.
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
    /// The numbers of those that are not lost: facts of one that was lost may still be on their way to be taken in.
    numbers: BTreeSet<PeerNumber>,
    /// How many were met: the next one's number.
    met: PeerNumber,
    /// Peers whose open work is in doubt since a moment, in that order.
    doubts: VecDeque<(Timestamp, PeerNumber)>,
}

#[derive(Debug)]
struct Peer {
    number: PeerNumber,
    incarnation: Incarnation,
    met_at: Timestamp,
    heard_at: Timestamp,
    upto: u64,
    gaps: u64,
    facts: u64,
    refused: u64,
    /// The highest number of a word on open work.
    newest_in_flight: u64,
    placements: SequenceWindow,
}

// === impl Peers ===

impl Peers {
    /// Discovery knows `endpoint` from now on.
    pub fn enters(&mut self, endpoint: EndpointKey) {
        self.table.enters(endpoint);
    }

    /// Discovery does not know `endpoint` any more: what peers say of it goes once it can't matter.
    pub fn leaves(&mut self, endpoint: EndpointKey, now: Timestamp) {
        self.table.leaves(endpoint, now);
    }

    /// Takes a batch in at `now`. Facts that are not news (older than what is held, or heard by the other lane) are left
    /// out. A newer life of the origin starts from nothing: what the older one had in flight is in `released`.
    pub fn receive(&mut self, batch: Batch, now: Timestamp, released: &mut Vec<EndpointKey>) -> Received {
        let known = self.peers.get(&batch.origin).map(|peer| peer.incarnation);
        match known {
            Some(known) if known > batch.incarnation => return Received::StaleIncarnation,
            Some(known) if known < batch.incarnation => released.extend(self.forget(&batch.origin)),
            None if self.peers.len() >= PEERS_MAX => return Received::TooManyPeers,
            _ => {}
        }
        let (met, numbers, table) = (&mut self.met, &mut self.numbers, &mut self.table);
        let peer = self.peers.entry(batch.origin).or_insert_with(|| {
            *met = met.wrapping_add(1);
            numbers.insert(*met);
            Peer::met(*met, batch.incarnation, now)
        });
        peer.heard_at = now;
        let heard = peer.upto;
        if batch.after <= heard {
            peer.upto = heard.max(batch.upto);
            let range = (batch.after, batch.upto);
            if batch.after < peer.newest_in_flight && is_doubtful(table, peer.number, range, &batch.facts) {
                self.doubts.push_back((now, peer.number));
            }
        } else if batch.after != Batch::FRAGMENT {
            peer.gaps += 1;
        }
        let (mut facts, mut refused) = (batch.facts, 0);
        facts.retain(|fact| match peer.judge(fact, heard, table, now) {
            Noted::News => true,
            Noted::Old => false,
            Noted::Full => {
                refused += 1;
                false
            }
        });
        peer.facts += facts.len() as u64;
        peer.refused += refused as u64;
        Received::News(News { peer: peer.number, facts, refused })
    }

    /// A fact on the open work of `peer` on `endpoint` is taken in, after all dispatches that were told before it.
    pub fn settle(&mut self, peer: u32, endpoint: EndpointKey) {
        self.table.settle(peer, endpoint);
    }

    /// Notes what `peer` saw of an endpoint's answers.
    pub fn set_failures(&mut self, peer: u32, endpoint: EndpointKey, failures: Failures) {
        self.table.set_failures(peer, endpoint, failures);
    }

    /// What peers saw of an endpoint's answers, where they saw failures.
    pub fn failures(&self, endpoint: EndpointKey) -> Vec<Failures> {
        self.table.failures(endpoint)
    }

    /// Notes that `peer` dispatched a request at `at` to an endpoint whose last report was made at `measured`.
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

    /// Notes that the endpoint's report made at `measured` came; `false` when that changes nothing of what peers
    /// dispatched.
    pub fn reported(&mut self, endpoint: EndpointKey, measured: Timestamp) -> bool {
        self.table.reported(endpoint, measured)
    }

    /// The open work of all peers on `endpoint`, and how many of their requests its last report can't know.
    pub fn open_work(&self, endpoint: EndpointKey) -> (InFlight, usize) {
        self.table.open_work(endpoint)
    }

    /// Time passed: drops what can't matter any more. Open work that a snapshot did not confirm is void; its endpoints are
    /// in `released`.
    pub fn expire(&mut self, now: Timestamp, released: &mut Vec<EndpointKey>) {
        self.table.expire(now);
        while let Some(&(since, peer)) = self.doubts.front()
            && now.since(since) >= DOUBT_LASTS
        {
            self.doubts.pop_front();
            self.table.void_doubted(peer, released);
        }
    }

    /// Drops a peer that was lost in this life or an earlier one; gives the endpoints it had work on.
    pub fn lose(&mut self, replica: &ReplicaId, incarnation: Incarnation) -> Vec<EndpointKey> {
        match self.peers.get(replica) {
            Some(peer) if peer.incarnation <= incarnation => self.forget(replica),
            _ => Vec::new(),
        }
    }

    /// The number up to which all was heard of `replica` in this life.
    pub fn upto(&self, replica: &ReplicaId, incarnation: Incarnation) -> u64 {
        self.peers.get(replica).filter(|peer| peer.incarnation == incarnation).map_or(0, |peer| peer.upto)
    }

    /// For how long `replica` has been heard in this life, without having been lost.
    pub fn acquaintance(&self, replica: &ReplicaId, now: Timestamp) -> Duration {
        self.peers.get(replica).map_or(Duration::ZERO, |peer| now.since(peer.met_at))
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether nobody was heard, or all are lost.
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
                quiet: now.since(peer.heard_at),
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
        self.numbers.remove(&peer.number);
        self.doubts.retain(|(_, number)| *number != peer.number);
        self.table.forget(peer.number)
    }
}

/// Whether the facts of a batch leave out open work that was heard before under a number in the `range` that it speaks for.
fn is_doubtful(table: &mut Table, peer: PeerNumber, range: (u64, u64), facts: &[Fact]) -> bool {
    let shares = facts.iter().filter(|fact| fact.record.open_work().is_some());
    let mut said: Vec<u64> = shares.map(|fact| fact.seq).collect();
    said.sort_unstable();
    table.doubt(peer, range, &said)
}

// === impl Peer ===

impl Peer {
    fn met(number: PeerNumber, incarnation: Incarnation, met_at: Timestamp) -> Self {
        Self {
            number,
            incarnation,
            met_at,
            heard_at: Timestamp::ZERO,
            upto: 0,
            gaps: 0,
            facts: 0,
            refused: 0,
            newest_in_flight: 0,
            placements: SequenceWindow::new(),
        }
    }

    /// Whether `fact` is news; `heard` is the number up to which all was heard before its batch.
    fn judge(&mut self, fact: &Fact, heard: u64, table: &mut Table, now: Timestamp) -> Noted {
        let Some(subject) = fact.record.subject() else {
            let news = fact.seq == Fact::HISTORY || self.placements.first_time(fact.seq);
            return if news { Noted::News } else { Noted::Old };
        };
        // All that counted up to there was heard. What was not is out of date, even if nothing of it is remembered.
        if fact.seq <= heard {
            return Noted::Old;
        }
        let open = fact.record.open_work();
        if open.is_some() {
            self.newest_in_flight = self.newest_in_flight.max(fact.seq);
        }
        table.note(self.number, subject, fact.seq, open, now)
    }
}

#[cfg(test)]
#[path = "peers_tests.rs"]
mod tests;
