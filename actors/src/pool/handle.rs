//! The pool as others see it.
//!
//! Must not know what it does with what it is told.

use std::collections::BTreeMap;

use murmuration::fleet::Endpoint;
use murmuration::id::canonical;
use ractor::ActorRef;

/// A letter to the pool.
#[derive(Debug)]
pub enum PoolMessage {
    // ---------- from discovery ----------
    /// The whole set of endpoints, and the objectives' priorities.
    Announced(Vec<Endpoint>, BTreeMap<String, i32>),

    // ---------- from the flock ----------
    /// Who keeps which endpoint may have changed.
    KeepersChanged,

    // ---------- from itself ----------
    /// A child's pause before its next life is over.
    Revive(Child),
}

/// Who can be born again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Child {
    /// The scheduler.
    Scheduler,
    /// Discovery.
    Discovery,
    /// The watcher of this endpoint.
    Endpoint(murmuration::id::EndpointId),
}

/// Verbs of the pool.
#[derive(Clone, Debug)]
pub struct PoolHandle {
    actor: ActorRef<PoolMessage>,
}

// === impl PoolHandle ===

impl PoolHandle {
    /// A handle on `actor`.
    pub fn new(actor: ActorRef<PoolMessage>) -> Self {
        Self { actor }
    }

    /// Says that keepers changed.
    pub fn keepers_changed(&self) {
        let _ = self.actor.cast(PoolMessage::KeepersChanged);
    }

    /// Announces the whole set of endpoints and objectives.
    pub fn announced(&self, mut endpoints: Vec<Endpoint>, objectives: BTreeMap<String, i32>) {
        endpoints.iter_mut().for_each(|endpoint| endpoint.address = canonical(endpoint.address));
        // A pool that is gone has no use for news.
        let _ = self.actor.cast(PoolMessage::Announced(endpoints, objectives));
    }
}

impl std::fmt::Display for Child {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Scheduler => f.write_str("scheduler"),
            Self::Discovery => f.write_str("discovery"),
            Self::Endpoint(id) => write!(f, "endpoint {id}"),
        }
    }
}
