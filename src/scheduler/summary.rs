//! A summary of the pool, for gauges, for `/debug/fleet` and for people.
//!
//! Must not know metric names, nor the shape of JSON beyond serde.

use std::time::Duration;

use serde::Serialize;

use crate::fleet::{Endpoint, Entry, FailureCounts, InFlight, LoadReport, Trust};
use crate::id::Slot;
use crate::prefix::PrefixIndex;
use crate::replication::PeerSummary;
use crate::scheduler::Balance;
use crate::time::Timestamp;

/// The pool as one replica believes it to be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FleetSummary {
    /// Every endpoint, ordered by name.
    pub endpoints: Vec<EndpointSummary>,
    /// The ledger's sums.
    pub tickets: Balance,
    /// Bytes that the prefix index takes.
    pub index_bytes: u64,
    /// Sessions that are bound.
    pub sessions: usize,
    /// What was received from the other replicas.
    pub peers: Vec<PeerSummary>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EndpointSummary {
    /// The endpoint as discovery announced it.
    pub endpoint: Endpoint,
    /// Its last report; `None` before the first.
    pub report: Option<LoadReport>,
    /// The report's age.
    pub age: Option<Duration>,
    /// Trust in the report.
    pub trust: Trust,
    /// Whether its listener answers.
    pub reachable: bool,
    /// Open work dispatched from this replica.
    pub in_flight: InFlight,
    /// Open work dispatched by all peers.
    pub foreign: InFlight,
    /// Requests dispatched by any replica that the report can't include yet.
    pub unseen: usize,
    /// Failure counts of its last answers, if most of them were failures; such as `12 of 14 in 10 s`.
    pub failing: Option<FailureCounts>,
    /// Blocks that the prefix index believes it to hold.
    pub index_blocks: u64,
}

pub(super) fn endpoint(slot: Slot, entry: &Entry, index: &PrefixIndex, now: Timestamp) -> EndpointSummary {
    EndpointSummary {
        endpoint: entry.endpoint.clone(),
        report: entry.report().cloned(),
        age: entry.age(now),
        trust: entry.trust(now),
        reachable: entry.is_reachable(),
        in_flight: entry.in_flight,
        foreign: entry.foreign,
        unseen: entry.unseen(),
        failing: Some(entry.failure_counts(now)).filter(|counts| counts.are_failing()),
        index_blocks: index.held(slot),
    }
}
