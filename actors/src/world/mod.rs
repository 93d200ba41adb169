//! The outside of a replica as a value: its network, its clock, and who tells it of endpoints.
//!
//! Must not know what a replica does with it. `murmuration serve`, tests and benches live in [`World::production`]; the
//! simulator makes a world of its own, and starts the same replica in it.

mod announcement;
mod door;
mod network;
mod shared_door;
mod wire;

use std::sync::Arc;

pub use announcement::{Announcement, Feed};
pub use door::{Door, Entrance};
pub use network::{Datagrams, Network, Sockets, datagrams};
pub use shared_door::SharedDoor;
pub use wire::{Duplex, Wire};

use crate::clock::Clock;

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

// === impl World ===

impl World {
    /// The machine's own sockets and clock.
    pub fn production() -> Self {
        Self { network: Arc::new(Sockets), clock: None, feed: None }
    }
}
