//! Connections of a listener whose TLS handshake is done. A slow or foreign handshake delays no other one.
//!
//! Must not know certificates or who is admitted: the caller provides the handshake.

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

/// One address may have this fraction of all handshakes under way: one in so many.
const ADDRESS_DIVISOR: usize = 4;

/// The stream of connections whose handshake is done.
pub(crate) struct Handshakes<S> {
    arrivals: Arrivals,
    handshake: S,
    limit: usize,
    under_way: JoinSet<Option<TlsStream<Connection>>>,
    /// Address and task of each handshake under way, the oldest first.
    callers: Vec<(IpAddr, AbortHandle)>,
}

// === impl Handshakes ===

impl<S, F> Handshakes<S>
where
    S: Fn(Connection, SocketAddr) -> F,
    F: Future<Output = Option<TlsStream<Connection>>> + Send + 'static,
{
    /// Connections of `arrivals`, with at most `limit` handshakes under way, and a quarter of that from one address. A
    /// handshake beyond a limit does not wait: it displaces the oldest one of its own address, or of the address that
    /// has most. `handshake` returns `None` for a client that is not admitted, and must end in bounded time.
    pub(crate) fn new(arrivals: Arrivals, limit: usize, handshake: S) -> Self {
        Self { arrivals, handshake, limit, under_way: JoinSet::new(), callers: Vec::new() }
    }

    fn begin(&mut self, connection: Connection, from: SocketAddr) {
        let address = caller(from.ip());
        let of_one = |one: IpAddr| self.callers.iter().filter(|(caller, _)| *caller == one).count();
        let over_limit = if of_one(address) >= (self.limit / ADDRESS_DIVISOR).max(1) {
            Some(address)
        } else if self.callers.len() >= self.limit {
            self.callers.iter().map(|(caller, _)| *caller).max_by_key(|caller| of_one(*caller))
        } else {
            None
        };
        if let Some(at) = self.callers.iter().position(|(caller, _)| Some(*caller) == over_limit) {
            self.callers.remove(at).1.abort();
            self.arrivals.event_sink().closed("handshake-displaced");
        }
        let task = self.under_way.spawn((self.handshake)(connection, from));
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
                Poll::Ready((connection, from)) => this.begin(connection, from),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

#[cfg(test)]
#[path = "handshakes_tests.rs"]
mod tests;
