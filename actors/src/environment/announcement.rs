//! What a replica is told of the pool, whole.
//!
//! Must not know who tells.

use std::collections::BTreeMap;

use murmuration::fleet::Endpoint;
use murmuration::id::canonical;
use tokio::sync::watch;

/// What discovery says, whole: the endpoints, and the priorities of objectives by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Announcement {
    /// All endpoints.
    pub endpoints: Vec<Endpoint>,
    /// All objectives.
    pub objectives: BTreeMap<String, i32>,
}

/// Announcements as they come; `None` before the first.
pub type Feed = watch::Receiver<Option<Announcement>>;

// === impl Announcement ===

impl Announcement {
    /// The same, with each address in its canonical spelling, which is how subset hints and Envoy name it.
    #[must_use]
    pub fn canonical(mut self) -> Self {
        self.endpoints.iter_mut().for_each(|endpoint| endpoint.address = canonical(endpoint.address));
        self
    }
}
