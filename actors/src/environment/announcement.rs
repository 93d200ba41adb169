//! The complete state of the pool as discovery announces it.
//!
//! Must not know where announcements come from.

use std::collections::BTreeMap;

use murmuration::fleet::Endpoint;
use murmuration::id::canonical;
use tokio::sync::watch;

/// The complete pool state from discovery: all endpoints, and the priorities of objectives by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Announcement {
    /// All endpoints.
    pub endpoints: Vec<Endpoint>,
    /// All objectives.
    pub objectives: BTreeMap<String, i32>,
}

/// The latest announcement; `None` before the first.
pub type Feed = watch::Receiver<Option<Announcement>>;

// === impl Announcement ===

impl Announcement {
    /// The same announcement with each address in canonical form, the form that subset hints and Envoy use.
    #[must_use]
    pub fn canonical(mut self) -> Self {
        self.endpoints.iter_mut().for_each(|endpoint| endpoint.address = canonical(endpoint.address));
        self
    }
}
