//! A connection whose first bytes are remembered while somebody listens: what a handshake read before it was refused.
//!
//! Must not know what the bytes say.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::environment::Connection;

/// Bytes that are remembered: more than any ClientHello has.
const HEARD_MAX: usize = 8_192;

/// The connection.
struct Observed {
    inner: Connection,
    heard: Weak<Mutex<Vec<u8>>>,
}

/// Whoever listens; nothing is remembered once this is dropped.
pub(crate) struct Listening(Arc<Mutex<Vec<u8>>>);

/// The same connection, and what is read from it.
pub(crate) fn observed(inner: Connection) -> (Connection, Listening) {
    let heard = Arc::default();
    (Connection::new(Observed { inner, heard: Arc::downgrade(&heard) }), Listening(heard))
}

// === impl Listening ===

impl Listening {
    /// The first bytes that were read, 8 KiB at most.
    pub(crate) fn heard(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

// === impl Observed ===

impl AsyncRead for Observed {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buffer))?;
        if let Some(heard) = this.heard.upgrade() {
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            let read = &buffer.filled()[before..];
            let room = HEARD_MAX.saturating_sub(heard.len()).min(read.len());
            heard.extend_from_slice(&read[..room]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Observed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
