//! A connection that repairs authorities before the HTTP server sees them, because the server would end the request.
//!
//! Must not know what is served. It also ends a connection that never sends the HTTP/2 preface, and one on which no
//! request makes progress for a long time. Otherwise a client that only answers pings would hold its slot forever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use murmuration::event::Event;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use tonic::transport::server::Connected;

use super::event_sink::EventSink;
use super::frames::Frames;

/// How long a client may take to send the HTTP/2 preface.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may stay without frames of a request. This is longer than a request counts as open, and longer
/// than the hour after which Envoy closes an idle connection by itself.
pub(crate) const IDLE_MAX: Duration = Duration::from_secs(2 * 3600);

/// The connection and the bytes between it and its reader.
pub(crate) struct Repaired<T> {
    inner: T,
    frames: Frames,
    /// The beginning of an incomplete frame. It has room for the whole frame; the first `filled` bytes are read.
    kept: Vec<u8>,
    filled: usize,
    /// Bytes that are ready but did not fit into the reader's buffer; the first `given` are delivered.
    ready: Vec<u8>,
    given: usize,
    /// The preface deadline, and after it the idle deadline.
    deadline: Option<Pin<Box<Sleep>>>,
    /// [`Frames::requests`] when the idle deadline was set.
    seen: Option<u64>,
    idle: Option<Duration>,
    event_sink: EventSink,
}

// === impl Repaired ===

impl<T> Repaired<T> {
    /// A connection over `inner` that ends after `idle` without a frame of a request. `None` is for streams that are
    /// silent by design.
    pub(crate) fn new(inner: T, idle: Option<Duration>, event_sink: EventSink) -> Self {
        let deadline = Some(Box::pin(sleep(PREFACE_TIMEOUT)));
        let (kept, ready) = (Vec::new(), Vec::new());
        Self { inner, frames: Frames::new(), kept, filled: 0, ready, given: 0, deadline, seen: None, idle, event_sink }
    }

    /// Emits an event for each repair after the first `before`.
    fn emit_repairs(&self, before: u64) {
        for _ in before..self.frames.repaired() {
            self.event_sink.emit(&Event::AuthorityRepaired { port: self.event_sink.port() });
        }
    }

    /// Why the connection must end now; `None` while its deadline has not passed.
    fn close_reason(&mut self, cx: &mut Context<'_>) -> Option<&'static str> {
        while self.deadline.as_mut()?.as_mut().poll(cx).is_ready() {
            let requests = Some(self.frames.requests());
            if !self.frames.began() {
                return Some("no-preface");
            }
            if self.seen == requests {
                return Some("idle");
            }
            self.seen = requests;
            match (self.idle, &mut self.deadline) {
                (Some(idle), Some(deadline)) => deadline.as_mut().reset(Instant::now() + idle),
                _ => self.deadline = None,
            }
        }
        None
    }
}

impl<T: AsyncRead + Unpin> Repaired<T> {
    /// Reads from the connection directly into the reader's buffer. Returns whether there is something to deliver.
    fn read_through(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        let bytes = &mut buffer.filled_mut()[before..];
        let repaired = self.frames.repaired();
        let walked = self.frames.walk(bytes);
        self.kept.extend_from_slice(&bytes[walked.kept_from..]);
        self.filled = self.kept.len();
        let ended = bytes.is_empty();
        buffer.set_filled(before + walked.passed);
        self.emit_repairs(repaired);
        Poll::Ready(Ok(ended || walked.passed > 0))
    }

    /// Reads the missing part of an incomplete frame.
    fn read_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wanted = Frames::wanted(&self.kept[..self.filled]);
        self.kept.resize(wanted, 0);
        let mut room = ReadBuf::new(&mut self.kept[self.filled..]);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut room))?;
        let read = room.filled().len();
        self.filled += read;
        if read == 0 {
            // The client closed in the middle of a frame. The server decides what a partial frame means.
            self.kept.truncate(self.filled);
            (self.ready, self.filled) = (std::mem::take(&mut self.kept), 0);
        } else if self.filled == wanted {
            let repaired = self.frames.repaired();
            let walked = self.frames.walk(&mut self.kept);
            if walked.kept_from > 0 {
                let mut passed = std::mem::take(&mut self.kept);
                self.filled = 0;
                passed.truncate(walked.passed);
                self.ready = passed;
            }
            self.emit_repairs(repaired);
        }
        Poll::Ready(Ok(()))
    }

    fn read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let waiting = &self.ready[self.given..];
            if !waiting.is_empty() {
                let next = waiting.len().min(buffer.remaining());
                buffer.put_slice(&waiting[..next]);
                self.given += next;
                if self.given == self.ready.len() {
                    (self.ready, self.given) = (Vec::new(), 0);
                }
                return Poll::Ready(Ok(()));
            }
            if buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if self.filled > 0 {
                ready!(self.read_more(cx))?;
            } else if ready!(self.read_through(cx, buffer))? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Repaired<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Poll::Ready(read) = this.read(cx, buffer) {
            return Poll::Ready(read);
        }
        let Some(why) = this.close_reason(cx) else { return Poll::Pending };
        this.event_sink.closed(why);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
    }
}

crate::connection::forward::writes_to_inner!([T: AsyncWrite + Unpin] Repaired<T>);

impl<T: Connected> Connected for Repaired<T> {
    type ConnectInfo = T::ConnectInfo;

    fn connect_info(&self) -> T::ConnectInfo {
        self.inner.connect_info()
    }
}

#[cfg(test)]
#[path = "repaired_tests.rs"]
mod tests;
