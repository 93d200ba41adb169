//! The outside of a replica as a value: its network, its clock, and who tells it of endpoints.
//!
//! Must not know what a replica does with it. `murmuration serve`, tests and benches live in [`World::production`]; the
//! simulator makes a world of its own, and starts the same replica in it.

mod door;
mod network;
mod shared_door;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;

use murmuration::fleet::Endpoint;
use murmuration::id::canonical;
use tokio::sync::watch;

pub use door::{Door, Entrance};
pub use network::{Datagrams, Network, Sockets, datagrams};
pub use shared_door::SharedDoor;
pub use wire::{Duplex, Wire};

use crate::clock::Clock;

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

/// The outside of one replica. Cheap to clone.
#[derive(Clone, Debug)]
pub struct World {
    /// Who carries bytes.
    pub network: Arc<dyn Network>,
    /// The replica's clock; `None` for one that starts with it.
    pub clock: Option<Clock>,
    /// Who tells of endpoints, beside what the configuration names.
    pub feed: Option<Feed>,
}

// === impl Announcement ===

impl Announcement {
    /// The same, with each address in its canonical spelling, which is how subset hints and Envoy name it.
    #[must_use]
    pub fn canonical(mut self) -> Self {
        self.endpoints.iter_mut().for_each(|endpoint| endpoint.address = canonical(endpoint.address));
        self
    }
}

// === impl World ===

impl World {
    /// The machine's own sockets and clock.
    pub fn production() -> Self {
        Self { network: Arc::new(Sockets), clock: None, feed: None }
    }
}
