//! The complete state of the pool as discovery announces it.
//!
//! Must not know where announcements come from.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use murmuration::fleet::Endpoint;
use murmuration::id::canonical;
use murmuration::request::Rewrites;
use tokio::sync::watch;

/// The complete pool state from discovery.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Announcement {
    /// All endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Priorities, by the name of the objective.
    pub objectives: BTreeMap<String, i32>,
    /// Rules for the models of requests.
    pub rewrites: Rewrites,
    /// Whether the pool does not exist (any more). Then it has no endpoints, and the replica is not ready for it.
    pub withdrawn: bool,
}

/// The latest announcement; `None` before the first.
pub type Feed = watch::Receiver<Option<Announcement>>;

/// Where other replicas take gossip, as far as the environment knows; `None` before it has told.
pub type PeerFeed = watch::Receiver<Option<BTreeSet<SocketAddr>>>;

// === impl Announcement ===

impl Announcement {
    /// The same announcement with each address in canonical form, the form that subset hints and Envoy use.
    #[must_use]
    pub fn canonical(mut self) -> Self {
        self.endpoints.iter_mut().for_each(|endpoint| endpoint.address = canonical(endpoint.address));
        self
    }
}
