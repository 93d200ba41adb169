//! Snapshots: the state of a replica at one time.
//!
//! Must not know which state is correct.

use std::collections::BTreeMap;

use murmuration::id::EndpointId;
use murmuration::scheduler::{BeliefDigest, FleetSummary};

/// The state of a replica.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Its view of the pool, with the sums of the ledger and the state received from peers.
    pub fleet: FleetSummary,
    /// The live peers in its membership view: the incarnation by name.
    pub members: BTreeMap<String, u64>,
    /// Whether it reports that it is ready.
    pub ready: bool,
    /// Bytes of each chitchat value that it publishes, by key.
    pub gossip: BTreeMap<String, usize>,
    /// A digest of the beliefs that must be equal on all replicas once traffic has ended: endpoints, reports, open work
    /// and prefixes.
    pub digest: BeliefDigest,
}

/// The decision of one replica on an undispatched request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twin {
    /// The replica.
    pub replica: usize,
    /// The chosen endpoint; `None` for a refusal.
    pub to: Option<EndpointId>,
    /// The endpoints that may prefill for it, the best first; empty if it computes the prompt itself.
    pub prefill: Vec<EndpointId>,
    /// Blocks of the prompt that it believes the endpoint to hold, and all blocks of the prompt.
    pub matched: (u64, u64),
    /// Blocks of the prompt that the engine model really holds or is already computing.
    pub held: u64,
}
