//! A source of incoming connections, independent of the transport.
//!
//! Must not know what is served on them.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::net::TcpListener;
use tokio_stream::Stream;

use super::connection::Connection;

/// Accepts connections.
pub trait Acceptor: Send + 'static {
    /// The next connection and the caller's address.
    ///
    /// # Errors
    /// When this connection can't be accepted; later ones may succeed.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Connection, SocketAddr)>>;

    /// The local address.
    ///
    /// # Errors
    /// When the socket is gone.
    fn address(&self) -> io::Result<SocketAddr>;
}

/// A stream of connections from any [`Acceptor`].
pub struct Listener(Box<dyn Acceptor>);

// === impl Listener ===

impl Listener {
    /// A listener that accepts from `acceptor`.
    pub fn new(acceptor: impl Acceptor) -> Self {
        Self(Box::new(acceptor))
    }

    /// The local address.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.address()
    }

    /// See [`Acceptor::poll_accept`].
    ///
    /// # Errors
    /// See [`Acceptor::poll_accept`].
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Connection, SocketAddr)>> {
        self.0.poll_accept(cx)
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::new(listener)
    }
}

impl Acceptor for TcpListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Connection, SocketAddr)>> {
        Self::poll_accept(self, cx).map(|accepted| {
            let (socket, from) = accepted?;
            // Both fail if the caller has already disconnected; that is not an error of the listener.
            let (_, local) = (socket.set_nodelay(true), socket.local_addr());
            let connection = Connection::new(socket);
            Ok((if let Ok(local) = local { connection.at(local) } else { connection }, from))
        })
    }

    fn address(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }
}

impl Stream for Listener {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_accept(cx).map(|accepted| Some(accepted.map(|(connection, _)| connection)))
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("address", &self.0.address().ok()).finish()
    }
}
