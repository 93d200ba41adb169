//! A connection for short requests and responses. It ends when nothing is written on it for a while, or when it is old.
//!
//! Must not know HTTP. One rule covers an incomplete request, no further request, and a response that is not read. In
//! each case nothing is written, and the connection ends after [`ANSWER_MAX`].

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::event_sink::EventSink;

/// How long a connection may stay open without a write.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(20);
/// How long any connection may stay open.
pub(crate) const AGE_MAX: Duration = Duration::from_secs(600);

/// The connection and its deadlines.
pub(crate) struct Paced<T> {
    inner: T,
    deadline: Pin<Box<Sleep>>,
    written: Instant,
    ends: Instant,
    event_sink: EventSink,
}

// === impl Paced ===

impl<T> Paced<T> {
    pub(crate) fn new(inner: T, event_sink: EventSink) -> Self {
        let now = Instant::now();
        Self { inner, deadline: Box::pin(sleep(ANSWER_MAX)), written: now, ends: now + AGE_MAX, event_sink }
    }

    /// The connection inside.
    pub(crate) fn inner(&self) -> &T {
        &self.inner
    }

    /// Returns `polled`, or an error if it is pending and a deadline has passed.
    fn in_time<R>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if polled.is_ready() {
            return polled;
        }
        while self.deadline.as_mut().poll(cx).is_ready() {
            let (now, answers) = (Instant::now(), self.written + ANSWER_MAX);
            let over = [(answers, "unanswered"), (self.ends, "old")].into_iter().find(|(until, _)| *until <= now);
            if let Some((_, why)) = over {
                self.event_sink.closed(why);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)));
            }
            self.deadline.as_mut().reset(answers.min(self.ends));
        }
        Poll::Pending
    }

    fn record_write(&mut self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(polled, Poll::Ready(Ok(1..))) {
            self.written = Instant::now();
        }
        polled
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Paced<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_read(cx, buffer);
        this.in_time(cx, polled)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Paced<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_write(cx, bytes);
        let polled = this.record_write(polled);
        this.in_time(cx, polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_write_vectored(cx, slices);
        let polled = this.record_write(polled);
        this.in_time(cx, polled)
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn paced(room: usize) -> (tokio::io::DuplexStream, Paced<tokio::io::DuplexStream>) {
        let (client, server) = duplex(room);
        (client, Paced::new(server, EventSink::new("admin", |_| {})))
    }

    #[tokio::test(start_paused = true)]
    async fn an_incomplete_request_ends_at_the_deadline_even_if_bytes_keep_coming() {
        let (mut client, mut server) = paced(4_096);
        let began = Instant::now();
        let reading = async { server.read_to_end(&mut Vec::new()).await.unwrap_err().kind() };
        let trickling = async {
            loop {
                client.write_all(b"a").await.unwrap();
                sleep(Duration::from_secs(1)).await;
            }
        };
        let kind = tokio::select! { kind = reading => kind, () = trickling => unreachable!() };
        assert_eq!((kind, began.elapsed().as_secs()), (io::ErrorKind::TimedOut, ANSWER_MAX.as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_is_not_read_ends_the_connection() {
        let (_client, mut server) = paced(16);
        let began = Instant::now();
        let error = server.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!((error.kind(), began.elapsed().as_secs()), (io::ErrorKind::TimedOut, ANSWER_MAX.as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_connection_stays_open_until_it_is_old() {
        let (mut client, mut server) = paced(4_096);
        let began = Instant::now();
        let asking = async {
            loop {
                client.write_all(b"?").await.unwrap();
                client.read_u8().await.unwrap();
                sleep(ANSWER_MAX / 2).await;
            }
        };
        let answering = async {
            loop {
                if server.read_u8().await.is_err() {
                    return;
                }
                server.write_all(b"!").await.unwrap();
            }
        };
        tokio::select! { () = answering => {}, () = asking => unreachable!() }
        assert_eq!(began.elapsed().as_secs(), AGE_MAX.as_secs());
    }
}
