//! What this replica has heard of the others: per origin its life, its numbers, and its open work on each endpoint.
//!
//! Must not know lanes or liveness: who is lost is said to it. It says what a batch changes; the scheduler changes it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::fleet::{Failures, InFlight, Unseen};
use crate::id::{EndpointKey, Incarnation, ReplicaId};
use crate::share::heard::Heard;
use crate::share::record::{Batch, Fact, Share, Subject};
use crate::time::Timestamp;

/// Peers that one replica listens to; more are refused, and counted.
pub const PEERS_MAX: usize = 256;
/// Endpoints that one peer's word is kept for.
const SUBJECTS_MAX: usize = 3 * crate::fleet::ENDPOINTS_MAX;

/// What became of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Hearing {
    /// These of its facts are news.
    News(Vec<Fact>),
    /// It comes from a life that is over.
    FromThePast,
    /// There are too many peers already.
    TooManyPeers,
}

/// One peer at a glance.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
    /// Its open work over all endpoints.
    pub in_flight: InFlight,
}

/// The peers.
#[derive(Debug, Default)]
pub struct Peers {
    peers: BTreeMap<ReplicaId, Peer>,
}

#[derive(Debug)]
struct Peer {
    incarnation: Incarnation,
    met_at: Timestamp,
    heard_at: Timestamp,
    upto: u64,
    gaps: u64,
    facts: u64,
    newest: BTreeMap<Subject, u64>,
    placements: Heard,
    open: BTreeMap<EndpointKey, Open>,
    /// What it saw of answers, where there are failures among them that still count.
    failures: BTreeMap<EndpointKey, Failures>,
}

/// A peer's open work on one endpoint.
#[derive(Debug, Default)]
struct Open {
    in_flight: InFlight,
    unseen: Unseen,
}

// === impl Peers ===

impl Peers {
    /// Takes a batch in at `now`. Facts that are not news (older than what is held, or heard by the other lane) are left
    /// out. A newer life of the origin starts from nothing: what the older one had in flight is in `released`.
    pub fn hear(&mut self, batch: Batch, now: Timestamp, released: &mut Vec<EndpointKey>) -> Hearing {
        let known = self.peers.get(&batch.origin).map(|peer| peer.incarnation);
        match known {
            Some(known) if known > batch.incarnation => return Hearing::FromThePast,
            Some(known) if known < batch.incarnation => released.extend(self.forget(&batch.origin)),
            None if self.peers.len() >= PEERS_MAX => return Hearing::TooManyPeers,
            _ => {}
        }
        let peer = self.peers.entry(batch.origin).or_insert_with(|| Peer::met(batch.incarnation, now));
        peer.heard_at = now;
        if batch.after <= peer.upto {
            peer.upto = peer.upto.max(batch.upto);
        } else if batch.after != Batch::FRAGMENT {
            peer.gaps += 1;
        }
        let mut news = batch.facts;
        news.retain(|fact| peer.is_news(fact));
        peer.facts += news.len() as u64;
        Hearing::News(news)
    }

    /// Notes the open work of `origin`.
    pub fn set_share(&mut self, origin: &ReplicaId, share: Share) {
        let Some(peer) = self.peers.get_mut(origin) else { return };
        let in_flight = share.open();
        if in_flight == InFlight::default() {
            peer.open.remove(&share.endpoint);
            return;
        }
        let open = peer.open.entry(share.endpoint).or_default();
        open.in_flight = in_flight;
        open.unseen.at_most(in_flight.requests);
    }

    /// Notes what `origin` saw of an endpoint's answers.
    pub fn set_failures(&mut self, origin: &ReplicaId, endpoint: EndpointKey, failures: Failures, now: Timestamp) {
        let Some(peer) = self.peers.get_mut(origin) else { return };
        // What no longer counts goes, so that there are no more than endpoints which fail now.
        peer.failures.retain(|_, failures| failures.at(now).failures > 0);
        if peer.failures.len() < crate::fleet::ENDPOINTS_MAX {
            peer.failures.insert(endpoint, failures);
        }
    }

    /// What peers saw of an endpoint's answers, where there are failures among them.
    pub fn failures(&self, endpoint: EndpointKey) -> Vec<Failures> {
        self.peers.values().filter_map(|peer| peer.failures.get(&endpoint).copied()).collect()
    }

    /// Notes that `origin` dispatched a request at `at` to an endpoint whose last report was made at `measured`.
    pub fn dispatched(
        &mut self,
        origin: &ReplicaId,
        endpoint: EndpointKey,
        at: Timestamp,
        measured: Option<Timestamp>,
    ) {
        let Some(peer) = self.peers.get_mut(origin) else { return };
        if peer.open.len() < SUBJECTS_MAX {
            peer.open.entry(endpoint).or_default().unseen.dispatched(at, measured);
        }
    }

    /// Notes that the endpoint's report made at `measured` came; `false` when no peer has anything open on it.
    pub fn reported(&mut self, endpoint: EndpointKey, measured: Timestamp) -> bool {
        let mut any = false;
        for open in self.peers.values_mut().filter_map(|peer| peer.open.get_mut(&endpoint)) {
            open.unseen.reported(measured);
            any = true;
        }
        any
    }

    /// The open work of all peers on `endpoint`, and how many of their requests its last report can't know.
    pub fn open_work(&self, endpoint: EndpointKey) -> (InFlight, usize) {
        let open = self.peers.values().filter_map(|peer| peer.open.get(&endpoint));
        open.fold((InFlight::default(), 0), |(sum, unseen), open| {
            // A dispatch is told before the count that includes it.
            let more = open.unseen.len().min(open.in_flight.requests as usize);
            (sum.and(open.in_flight), unseen + more)
        })
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

    /// The peers, ordered by name.
    pub fn summary(&self, now: Timestamp) -> Vec<PeerSummary> {
        let summary = |(replica, peer): (&ReplicaId, &Peer)| PeerSummary {
            replica: replica.clone(),
            incarnation: peer.incarnation,
            quiet: now.since(peer.heard_at),
            upto: peer.upto,
            gaps: peer.gaps,
            facts: peer.facts,
            in_flight: peer.open.values().fold(InFlight::default(), |sum, open| sum.and(open.in_flight)),
        };
        self.peers.iter().map(summary).collect()
    }

    fn forget(&mut self, replica: &ReplicaId) -> Vec<EndpointKey> {
        let Some(peer) = self.peers.remove(replica) else { return Vec::new() };
        peer.open.into_keys().chain(peer.failures.into_keys()).collect()
    }
}

// === impl Peer ===

impl Peer {
    fn met(incarnation: Incarnation, met_at: Timestamp) -> Self {
        Self {
            incarnation,
            met_at,
            heard_at: Timestamp::ZERO,
            upto: 0,
            gaps: 0,
            facts: 0,
            newest: BTreeMap::new(),
            placements: Heard::new(),
            open: BTreeMap::new(),
            failures: BTreeMap::new(),
        }
    }

    fn is_news(&mut self, fact: &Fact) -> bool {
        let Some(subject) = fact.record.subject() else {
            return fact.seq == Fact::HISTORY || self.placements.first_time(fact.seq);
        };
        let full = self.newest.len() >= SUBJECTS_MAX;
        match self.newest.get_mut(&subject) {
            Some(newest) if *newest >= fact.seq => false,
            Some(newest) => {
                *newest = fact.seq;
                true
            }
            None if full => false,
            None => {
                self.newest.insert(subject, fact.seq);
                true
            }
        }
    }
}

#[cfg(test)]
#[path = "peers_tests.rs"]
mod tests;
