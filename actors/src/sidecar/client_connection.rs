//! A client's connection: a bound on how long an answer may lie unread, and an end that lets the client read a last one.
//!
//! Must not know HTTP.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::silence::Silence;
use crate::connection::EventSink;

/// Bytes for which a client gets a second back.
const BYTES_PER_SECOND: u32 = 1 << 10;
/// How long the rest of a request is read after the last answer, and how long it may pause. A system resets a connection
/// that is closed with bytes unread, and the client then loses the answer that it has not read yet.
const LINGER: Duration = Duration::from_secs(5);
const LINGER_PAUSE: Duration = Duration::from_secs(1);

/// The connection.
pub(super) struct ClientConnection<C> {
    inner: C,
    /// The longest time for which an answer may lie unread.
    unread: Duration,
    /// What is left of it.
    left: Duration,
    /// Since when nothing can be written.
    blocked: Option<Instant>,
    deadline: Pin<Box<Sleep>>,
    closing: Option<Closing>,
    event_sink: EventSink,
}

/// The end of a connection whose last answer is written.
struct Closing {
    until: Instant,
    pause: Silence,
}

// === impl ClientConnection ===

impl<C> ClientConnection<C> {
    pub(super) fn new(inner: C, unread: Duration, event_sink: EventSink) -> Self {
        let deadline = Box::pin(sleep(unread));
        Self { inner, unread, left: unread, blocked: None, deadline, closing: None, event_sink }
    }

    /// Returns `polled`, or an error when the client has left its answer unread for too long.
    fn written(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Ready(Ok(bytes)) => {
                let blocked = self.blocked.take().map(|since| since.elapsed()).unwrap_or_default();
                let earned = Duration::from_secs(1) * u32::try_from(bytes).unwrap_or(u32::MAX) / BYTES_PER_SECOND;
                self.left = self.left.saturating_sub(blocked).saturating_add(earned).min(self.unread);
                polled
            }
            Poll::Ready(Err(_)) => polled,
            Poll::Pending => {
                if self.blocked.is_none() {
                    let now = Instant::now();
                    self.blocked = Some(now);
                    self.deadline.as_mut().reset(now + self.left);
                }
                ready!(self.deadline.as_mut().poll(cx));
                self.event_sink.closed("unread");
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the answer is not read")))
            }
        }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for ClientConnection<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientConnection<C> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.written(cx, polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_write_vectored(cx, slices);
        this.written(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    /// Ends what is written, and reads what the client still sends until it ends or pauses.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let closing = match &mut this.closing {
            Some(closing) => closing,
            None => {
                ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
                let pause = Silence::new(LINGER_PAUSE);
                this.closing.insert(Closing { until: Instant::now() + LINGER, pause })
            }
        };
        let mut discarded = [MaybeUninit::uninit(); 16 << 10];
        loop {
            let mut buffer = ReadBuf::uninit(&mut discarded);
            match Pin::new(&mut this.inner).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() && Instant::now() < closing.until => {
                    closing.pause.is_broken();
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending if closing.pause.lasts(cx) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const UNREAD: Duration = Duration::from_secs(60);

    fn connection(room: usize) -> (DuplexStream, ClientConnection<DuplexStream>) {
        let (client, server) = duplex(room);
        (client, ClientConnection::new(server, UNREAD, EventSink::new("sidecar", |_| {})))
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_read_ends_the_connection() {
        let (_client, mut server) = connection(16);
        let began = Instant::now();
        let error = server.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!((error.kind(), began.elapsed()), (io::ErrorKind::TimedOut, UNREAD));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_read_too_slowly_ends_it_later() {
        let (mut client, mut server) = connection(16);
        let began = Instant::now();
        let trickling = async {
            loop {
                sleep(Duration::from_secs(1)).await;
                client.read_exact(&mut [0; 512]).await.unwrap();
            }
        };
        let error = tokio::select! {
            written = server.write_all(&[0; 1 << 20]) => written.unwrap_err(),
            () = trickling => unreachable!(),
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        // Half a second back for each second.
        assert!((100..140).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_pauses_and_then_reads_may_pause_again() {
        let (mut client, mut server) = connection(16);
        let reading = async {
            for _ in 0..4 {
                sleep(UNREAD - Duration::from_secs(1)).await;
                client.read_exact(&mut [0; 64 << 10]).await.unwrap();
            }
        };
        let writing = async { server.write_all(&[0; 4 * (64 << 10)]).await.unwrap() };
        tokio::join!(reading, writing);
    }

    #[tokio::test(start_paused = true)]
    async fn the_rest_of_a_request_is_read_before_the_end_but_not_for_ever() {
        let (mut client, mut server) = connection(16);
        let began = Instant::now();
        client.write_all(b"rest").await.unwrap();
        server.shutdown().await.unwrap();
        assert_eq!(began.elapsed(), LINGER_PAUSE, "a client that is silent");

        let (mut client, mut server) = connection(16);
        let began = Instant::now();
        let sending = async {
            loop {
                sleep(LINGER_PAUSE / 2).await;
                client.write_all(b"more").await.unwrap();
            }
        };
        tokio::select! { ended = server.shutdown() => ended.unwrap(), () = sending => unreachable!() }
        assert_eq!(began.elapsed(), LINGER, "one that goes on");

        let (client, mut server) = connection(16);
        let began = Instant::now();
        drop(client);
        server.shutdown().await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO, "one that left");
    }
}
