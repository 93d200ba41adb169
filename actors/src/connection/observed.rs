//! Records the first bytes that are read from a connection, so that a refused handshake can be examined.
//!
//! Must not know what the bytes mean.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use crate::environment::Connection;

/// How many bytes are recorded at most: more than any ClientHello has.
const RECORDED_MAX: usize = 8_192;

/// A connection that records what is read from it.
struct Observed {
    inner: Connection,
    recorded: Weak<Mutex<Vec<u8>>>,
}

/// The recorded bytes. Recording stops when this is dropped.
pub(crate) struct Recording(Arc<Mutex<Vec<u8>>>);

/// The same connection, and a recording of what is read from it.
pub(crate) fn observed(inner: Connection) -> (Connection, Recording) {
    let recorded = Arc::default();
    (Connection::new(Observed { inner, recorded: Arc::downgrade(&recorded) }), Recording(recorded))
}

// === impl Recording ===

impl Recording {
    /// The first bytes that were read, 8 KiB at most.
    pub(crate) fn received(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

// === impl Observed ===

impl AsyncRead for Observed {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buffer))?;
        if let Some(recorded) = this.recorded.upgrade() {
            let mut recorded = recorded.lock().unwrap_or_else(PoisonError::into_inner);
            let read = &buffer.filled()[before..];
            let room = RECORDED_MAX.saturating_sub(recorded.len()).min(read.len());
            recorded.extend_from_slice(&read[..room]);
        }
        Poll::Ready(Ok(()))
    }
}

crate::connection::forward::writes_to_inner!([] Observed);
