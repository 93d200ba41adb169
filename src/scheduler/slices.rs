//! Long work in slices: digests, summaries, histories and large batches, a few units at a time.
//!
//! Must not know what runs between two slices: decisions and ends of requests, and changes of the pool. So a walk goes
//! by names, and what it remembers of an endpoint is void once the endpoint has left.

use std::time::Duration;
use std::vec::IntoIter;

use crate::fleet::Tenancy;
use crate::id::EndpointId;
use crate::prefix::Tip;
use crate::replication::{Binding, Fact, Placement, Record};
use crate::scheduler::receiving::AgesReliable;
use crate::scheduler::summary::{EndpointSummary, endpoint};
use crate::scheduler::{BeliefDigest, FleetSummary, Scheduler, digest};
use crate::time::Timestamp;

/// Units of work in one slice: endpoints, facts or chains. Each takes some microseconds at most.
pub const SLICE: usize = 32;

/// How far a walk over the endpoints, in the order of their names, has come.
#[derive(Debug, Default)]
pub struct Walk {
    last: Option<EndpointId>,
}

/// How far a walk over the history has come.
#[derive(Debug)]
pub struct HistoryWalk {
    most: usize,
    begun: bool,
    walk: Walk,
    /// Remaining chains of the current endpoint.
    tips: IntoIter<Tip>,
    of: Option<Tenancy>,
}

/// New facts of a batch that are still to be taken in.
#[derive(Debug)]
pub struct PendingFacts {
    /// The number that [`crate::replication::Peers`] gave their origin.
    pub(super) peer: u32,
    /// The same for as long as the origin lives, also when it was lost for a while.
    pub(super) origin: u64,
    pub(super) dated: AgesReliable,
    pub(super) facts: IntoIter<Fact>,
}

// === impl HistoryWalk ===

impl HistoryWalk {
    /// A history of at most `most` placements, and as many bindings.
    pub fn new(most: usize) -> Self {
        Self { most, begun: false, walk: Walk::default(), tips: Vec::new().into_iter(), of: None }
    }
}

// === impl Scheduler: slices ===

impl Scheduler {
    /// The digest of what is believed.
    pub fn digest(&self) -> BeliefDigest {
        let (mut walk, mut sum) = (Walk::default(), BeliefDigest::default());
        while self.digest_some(&mut walk, &mut sum) {}
        sum
    }

    /// Adds the next endpoints to `sum`; `false` when none are left.
    pub fn digest_some(&self, walk: &mut Walk, sum: &mut BeliefDigest) -> bool {
        let mut more = false;
        for (slot, entry) in self.fleet.after(walk.last.clone().as_ref()).take(SLICE) {
            digest::add(sum, slot, entry, &self.index);
            (walk.last, more) = (Some(entry.endpoint.id.clone()), true);
        }
        more
    }

    /// The pool as it is believed to be at `now`.
    pub fn summary(&self, now: Timestamp) -> FleetSummary {
        let (mut walk, mut endpoints) = (Walk::default(), Vec::with_capacity(self.fleet.len()));
        while self.summary_some(&mut walk, &mut endpoints, now) {}
        self.summary_of(endpoints, now)
    }

    /// Adds the next endpoints to `endpoints`; `false` when none are left.
    pub fn summary_some(&self, walk: &mut Walk, endpoints: &mut Vec<EndpointSummary>, now: Timestamp) -> bool {
        let before = endpoints.len();
        let next = self.fleet.after(walk.last.as_ref()).take(SLICE);
        endpoints.extend(next.map(|(slot, entry)| endpoint(slot, entry, &self.index, now)));
        walk.last = endpoints.last().map(|last| last.endpoint.id.clone());
        endpoints.len() > before
    }

    /// The summary with these endpoints.
    pub fn summary_of(&self, endpoints: Vec<EndpointSummary>, now: Timestamp) -> FleetSummary {
        FleetSummary {
            endpoints,
            tickets: self.ledger.balance(),
            index_bytes: self.index.bytes() as u64,
            sessions: self.sessions.len(),
            peers: self.peers.summary(now),
        }
    }

    /// Adds the next part of the history to `history`; `false` when none is left. See [`Self::history`].
    pub fn history_some(&self, walk: &mut HistoryWalk, history: &mut Vec<(Record, Duration)>, now: Timestamp) -> bool {
        if !std::mem::replace(&mut walk.begun, true) {
            // Losses first: placements sent after them were made after them, whatever happens to ages in transit.
            history.extend(self.cache_history(now));
        }
        if walk.tips.len() == 0 {
            let Some((slot, entry)) = self.fleet.after(walk.walk.last.as_ref()).next() else {
                let binding = |(session, endpoint, age)| (Record::Bound(Binding { session, endpoint }), age);
                history.extend(self.sessions.newest(walk.most, now).into_iter().map(binding));
                return false;
            };
            walk.walk.last = Some(entry.endpoint.id.clone());
            walk.of = self.fleet.tenancy(slot);
            walk.tips = self.index.tips(slot, walk.most / self.fleet.len().max(1)).into_iter();
        }
        let Some((slot, entry)) = walk.of.and_then(|of| Some((of.slot, self.fleet.tenant_of(of)?))) else {
            walk.tips = Vec::new().into_iter();
            return true;
        };
        let endpoint = entry.endpoint.id.key();
        let chains = walk.tips.by_ref().take(SLICE).filter_map(|tip| self.index.chain_of(slot, tip));
        let placement = |anchors| Record::Placement(Placement { endpoint, anchors });
        // The true age, or a placement might seem to come before a loss that it survived.
        history.extend(chains.map(|(anchors, placed)| (placement(anchors), placed.age(now))));
        true
    }
}
