//! A byte stream in both directions, independent of its transport.
//!
//! Must not know what is sent on it. Each read or write costs one dynamic call; vectored writes stay vectored.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// A transport that reads and writes bytes.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Duplex for T {}

/// A connection.
pub struct Connection {
    duplex: Box<dyn Duplex>,
    local: Option<SocketAddr>,
    held: Option<Box<dyn Send + Sync>>,
}

// === impl Connection ===

impl Connection {
    /// A connection over `duplex`, which must send small writes at once.
    pub fn new(duplex: impl Duplex) -> Self {
        Self { duplex: Box::new(duplex), local: None, held: None }
    }

    /// The same connection with the local address `local`.
    pub fn at(self, local: SocketAddr) -> Self {
        Self { local: Some(local), ..self }
    }

    /// The local address; `None` where the transport does not provide one.
    pub fn local(&self) -> Option<SocketAddr> {
        self.local
    }

    /// The same connection, which drops `what` when the connection is dropped.
    pub(crate) fn holding(self, what: impl Send + Sync + 'static) -> Self {
        Self { held: Some(Box::new(what)), ..self }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.duplex).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.duplex).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.duplex).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.duplex.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.duplex).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.duplex).poll_shutdown(cx)
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("local", &self.local)
            .field("held", &self.held.is_some())
            .finish_non_exhaustive()
    }
}
