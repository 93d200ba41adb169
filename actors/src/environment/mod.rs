//! The outside of a replica as a value: its network, its clock, and who tells it of endpoints.
//!
//! Must not know what a replica does with it. `murmuration serve`, tests and benches live in [`Environment::production`]; the
//! simulator makes a world of its own, and starts the same replica in it.

mod announcement;
mod connection;
mod listener;
mod network;
mod shared_listener;

use std::sync::Arc;

pub use announcement::{Announcement, Feed};
pub use connection::{Connection, Duplex};
pub use listener::{Entrance, Listener};
pub use network::{Datagrams, Network, Sockets, datagrams};
pub use shared_listener::SharedListener;

use crate::clock::Clock;

/// The outside of one replica. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Who carries bytes.
    pub network: Arc<dyn Network>,
    /// The replica's clock; `None` for one that starts with it.
    pub clock: Option<Clock>,
    /// Who tells of endpoints, beside what the configuration names.
    pub feed: Option<Feed>,
}

// === impl Environment ===

impl Environment {
    /// The machine's own sockets and clock.
    pub fn production() -> Self {
        Self { network: Arc::new(Sockets), clock: None, feed: None }
    }
}
