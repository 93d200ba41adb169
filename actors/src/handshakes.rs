//! Connections of a listener whose TLS handshake is done. A slow or foreign handshake holds up nobody else.
//!
//! Must not know certificates or who is let in: it is told how hands are shaken.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;

use crate::world::{Door, Wire};

/// How long accepting pauses after it failed, which is most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The connections.
pub(crate) struct Handshakes<S> {
    listener: Door,
    shake: S,
    most: usize,
    under_way: JoinSet<Option<TlsStream<Wire>>>,
    pause: Option<Pin<Box<Sleep>>>,
}

// === impl Handshakes ===

impl<S, F> Handshakes<S>
where
    S: Fn(Wire, SocketAddr) -> F,
    F: Future<Output = Option<TlsStream<Wire>>> + Send + 'static,
{
    /// Connections of `listener`, at most `most` handshakes under way at once; more wait in the kernel's queue. `shake` gives
    /// `None` for whoever is not let in, and must not take for ever.
    pub(crate) fn new(listener: Door, most: usize, shake: S) -> Self {
        Self { listener, shake, most, under_way: JoinSet::new(), pause: None }
    }
}

impl<S, F> Stream for Handshakes<S>
where
    S: Fn(Wire, SocketAddr) -> F + Unpin,
    F: Future<Output = Option<TlsStream<Wire>>> + Send + 'static,
{
    type Item = io::Result<TlsStream<Wire>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            match this.under_way.poll_join_next(cx) {
                Poll::Ready(Some(Ok(Some(stream)))) => return Poll::Ready(Some(Ok(stream))),
                Poll::Ready(Some(_)) => continue,
                Poll::Ready(None) | Poll::Pending => {}
            }
            if this.under_way.len() >= this.most {
                return Poll::Pending;
            }
            if let Some(pause) = &mut this.pause {
                if pause.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                this.pause = None;
            }
            match this.listener.poll_accept(cx) {
                Poll::Ready(Ok((socket, from))) => {
                    this.under_way.spawn((this.shake)(socket, from));
                }
                Poll::Ready(Err(_)) => this.pause = Some(Box::pin(sleep(ACCEPT_PAUSE))),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
