//! A listener that one server after the other may stand at: a server that failed is started again at the same socket.
//!
//! Must not know servers. Only the newest server is woken when somebody comes, so two at once are one too many.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use super::{Connection, Entrance, Listener};

/// The listener.
#[derive(Clone, Debug)]
pub struct SharedListener(Arc<Mutex<Listener>>);

// === impl SharedListener ===

impl SharedListener {
    /// Shares `listener`.
    pub fn new(listener: Listener) -> Self {
        Self(Arc::new(Mutex::new(listener)))
    }

    /// The listener, for the next server.
    pub fn listener(&self) -> Listener {
        Listener::new(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Listener> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entrance for SharedListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Connection, SocketAddr)>> {
        self.lock().poll_accept(cx)
    }

    fn address(&self) -> io::Result<SocketAddr> {
        self.lock().address()
    }
}
