//! A replica as it was at one moment.
//!
//! Must not know what is right.

use std::collections::BTreeMap;

use murmuration::id::EndpointId;
use murmuration::scheduler::{BeliefDigest, FleetSummary};

/// What is looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// The pool as it is believed to be, with the ledger's sums and what was heard of peers.
    pub fleet: FleetSummary,
    /// The living peers as the replica sees them, by name, and their lives.
    pub members: BTreeMap<String, u64>,
    /// Whether it says that it is ready.
    pub ready: bool,
    /// Bytes of each chitchat value that it publishes, by key.
    pub gossip: BTreeMap<String, usize>,
    /// A digest of what it believes that must be equal everywhere after quiet: endpoints, loads, shares, and who holds what.
    pub digest: BeliefDigest,
}

/// What one replica would answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twin {
    /// Which replica.
    pub replica: usize,
    /// Where it would send the request; `None` for a refusal.
    pub to: Option<EndpointId>,
    /// Blocks of the prompt that it believes this endpoint to hold, and blocks of the prompt.
    pub matched: (u64, u64),
    /// Blocks of the prompt that the engine really holds, or is asked to compute already, as the model says.
    pub held: u64,
}
