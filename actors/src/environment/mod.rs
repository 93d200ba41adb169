//! The environment of a replica as a value: its network, its clock, and an optional source of endpoints.
//!
//! Must not know what a replica does with it. `murmuration serve`, tests and benches use
//! [`Environment::production`]; the simulator builds its own environment and starts the same replica in it.

mod announcement;
mod connection;
mod listener;
mod network;
mod shared_listener;

use std::sync::Arc;

pub use announcement::{Announcement, Feed, PeerFeed};
pub use connection::{Connection, Duplex};
pub use listener::{Acceptor, Listener};
pub use network::{Datagrams, Network, Sockets, datagrams};
pub use shared_listener::SharedListener;

use crate::clock::Clock;

/// The environment of one replica. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Connects and binds sockets.
    pub network: Arc<dyn Network>,
    /// The replica's clock; `None` for one that starts with the replica.
    pub clock: Option<Clock>,
    /// A source of endpoints, in addition to those that the configuration names.
    pub feed: Option<Feed>,
}

// === impl Environment ===

impl Environment {
    /// The machine's own sockets and clock.
    pub fn production() -> Self {
        Self { network: Arc::new(Sockets), clock: None, feed: None }
    }
}
