//! Where connections come in, whoever carries them.
//!
//! Must not know what is served behind it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::net::TcpListener;
use tokio_stream::Stream;

use super::connection::Connection;

/// Who lets connections in.
pub trait Entrance: Send + 'static {
    /// The next connection, and who called.
    ///
    /// # Errors
    /// When this one can't be taken; later ones may.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Connection, SocketAddr)>>;

    /// Where it is.
    ///
    /// # Errors
    /// When the socket is gone.
    fn address(&self) -> io::Result<SocketAddr>;
}

/// An entrance of whatever kind: a stream of connections.
pub struct Listener(Box<dyn Entrance>);

// === impl Listener ===

impl Listener {
    /// A listener at `entrance`.
    pub fn new(entrance: impl Entrance) -> Self {
        Self(Box::new(entrance))
    }

    /// Where it is.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.address()
    }

    /// See [`Entrance::poll_accept`].
    ///
    /// # Errors
    /// See [`Entrance::poll_accept`].
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Connection, SocketAddr)>> {
        self.0.poll_accept(cx)
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::new(listener)
    }
}

impl Entrance for TcpListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Connection, SocketAddr)>> {
        Self::poll_accept(self, cx).map(|accepted| {
            let (socket, from) = accepted?;
            // A caller that is gone already makes these fail, which is no trouble of the entrance.
            let (_, local) = (socket.set_nodelay(true), socket.local_addr());
            let wire = Connection::new(socket);
            Ok((if let Ok(local) = local { wire.at(local) } else { wire }, from))
        })
    }

    fn address(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }
}

impl Stream for Listener {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_accept(cx).map(|accepted| Some(accepted.map(|(wire, _)| wire)))
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("address", &self.0.address().ok()).finish()
    }
}
