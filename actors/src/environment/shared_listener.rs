//! A listener that successive servers share, so a failed server restarts on the same socket.
//!
//! Must not know servers. Only the server that polled last is woken for a new connection, so never run two at once.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use super::{Acceptor, Connection, Listener};

/// The shared listener.
#[derive(Clone, Debug)]
pub struct SharedListener(Arc<Mutex<Listener>>);

// === impl SharedListener ===

impl SharedListener {
    /// Shares `listener`.
    pub fn new(listener: Listener) -> Self {
        Self(Arc::new(Mutex::new(listener)))
    }

    /// A listener for the next server.
    pub fn listener(&self) -> Listener {
        Listener::new(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Listener> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Acceptor for SharedListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Connection, SocketAddr)>> {
        self.lock().poll_accept(cx)
    }

    fn address(&self) -> io::Result<SocketAddr> {
        self.lock().address()
    }
}
