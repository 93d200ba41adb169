//! A door that one server after the other may stand at: a server that failed is started again at the same socket.
//!
//! Must not know servers. Only the newest server is woken when somebody comes, so two at once are one too many.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use super::{Door, Entrance, Wire};

/// The door.
#[derive(Clone, Debug)]
pub struct SharedDoor(Arc<Mutex<Door>>);

// === impl SharedDoor ===

impl SharedDoor {
    /// Shares `door`.
    pub fn new(door: Door) -> Self {
        Self(Arc::new(Mutex::new(door)))
    }

    /// The door, for the next server.
    pub fn door(&self) -> Door {
        Door::new(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Door> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entrance for SharedDoor {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Wire, SocketAddr)>> {
        self.lock().poll_accept(cx)
    }

    fn address(&self) -> io::Result<SocketAddr> {
        self.lock().address()
    }
}
