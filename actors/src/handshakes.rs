//! Connections of a listener whose TLS handshake is done. A slow or foreign handshake holds up nobody else.
//!
//! Must not know certificates or who is let in: it is told how hands are shaken.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;

use crate::connection::{Arrivals, caller};
use crate::environment::Connection;

/// The share of all handshakes that one address may have under way: one part of so many.
const SHARE: usize = 4;

/// The connections.
pub(crate) struct Handshakes<S> {
    arrivals: Arrivals,
    shake: S,
    most: usize,
    under_way: JoinSet<Option<TlsStream<Connection>>>,
    /// Who they are with, the oldest first.
    callers: Vec<(IpAddr, AbortHandle)>,
}

// === impl Handshakes ===

impl<S, F> Handshakes<S>
where
    S: Fn(Connection, SocketAddr) -> F,
    F: Future<Output = Option<TlsStream<Connection>>> + Send + 'static,
{
    /// Connections of `arrivals`, at most `most` handshakes under way at once, and a quarter of that with one address. A
    /// handshake too many does not wait: it takes the place of the oldest one of its own address, or of the address that has
    /// most. `shake` gives `None` for whoever is not let in, and must not take for ever.
    pub(crate) fn new(arrivals: Arrivals, most: usize, shake: S) -> Self {
        Self { arrivals, shake, most, under_way: JoinSet::new(), callers: Vec::new() }
    }

    fn begin(&mut self, wire: Connection, from: SocketAddr) {
        let address = caller(from.ip());
        let of_one = |one: IpAddr| self.callers.iter().filter(|(caller, _)| *caller == one).count();
        let crowded = if of_one(address) >= (self.most / SHARE).max(1) {
            Some(address)
        } else if self.callers.len() >= self.most {
            self.callers.iter().map(|(caller, _)| *caller).max_by_key(|caller| of_one(*caller))
        } else {
            None
        };
        if let Some(at) = self.callers.iter().position(|(caller, _)| Some(*caller) == crowded) {
            self.callers.remove(at).1.abort();
            self.arrivals.event_sink().closed("handshake-displaced");
        }
        let task = self.under_way.spawn((self.shake)(wire, from));
        self.callers.push((address, task));
    }
}

impl<S, F> Stream for Handshakes<S>
where
    S: Fn(Connection, SocketAddr) -> F + Unpin,
    F: Future<Output = Option<TlsStream<Connection>>> + Send + 'static,
{
    type Item = io::Result<TlsStream<Connection>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            while let Poll::Ready(Some(done)) = this.under_way.poll_join_next_with_id(cx) {
                let (id, stream) = match done {
                    Ok((id, stream)) => (id, stream),
                    Err(error) => (error.id(), None),
                };
                this.callers.retain(|(_, task)| task.id() != id);
                if let Some(stream) = stream {
                    return Poll::Ready(Some(Ok(stream)));
                }
            }
            match this.arrivals.poll_accept(cx) {
                Poll::Ready((wire, from)) => this.begin(wire, from),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

#[cfg(test)]
#[path = "handshakes_tests.rs"]
mod tests;
