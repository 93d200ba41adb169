//! The connections of clients to one rank, plain or over TLS. HTTP/1.1, as engines speak it.
//!
//! Must not know what is served. A connection has one request at a time; when its client leaves, the request's future is
//! dropped.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_stream::{Stream, StreamExt};

use super::client_connection::ClientConnection;
use super::proxy::Proxy;
use crate::connection::{Arrivals, Bounds, EventSink};
use crate::environment::Listener;
use crate::tls::{self, ServerTls};

/// How long the head of a request may take, and how long a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(300);
/// Bytes of a request's head, and of an answer that is not written yet.
const BUFFER_MAX: usize = 128 << 10;

/// Bounds of one port's connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How many there are.
    pub(super) connections: usize,
    /// How long a client may leave an answer unread.
    pub(super) unread: Duration,
}

/// Serves until `closing` is set and the open requests have ended. In between, new connections are closed at once: a client
/// that asked in vain can go elsewhere, and one that waits to be accepted can't tell.
pub(super) async fn serve(
    listener: Listener,
    proxy: Arc<Proxy>,
    tls: Option<ServerTls>,
    limits: Limits,
    event_sink: EventSink,
    closing: watch::Receiver<bool>,
) {
    // A gateway is one address, so an address has no share of its own.
    let bounds = Bounds { all: limits.connections, of_one: limits.connections };
    let arrivals = Arrivals::new(listener, bounds, event_sink.clone());
    match tls {
        None => accept(client_connections(arrivals, limits, event_sink), proxy, closing).await,
        Some(tls) => accept(client_connections(tls::incoming(arrivals, tls), limits, event_sink), proxy, closing).await,
    }
}

fn client_connections<C>(
    arrivals: impl Stream<Item = io::Result<C>>,
    limits: Limits,
    event_sink: EventSink,
) -> impl Stream<Item = io::Result<ClientConnection<C>>> {
    arrivals.map(move |arrived| arrived.map(|c| ClientConnection::new(c, limits.unread, event_sink.clone())))
}

async fn accept<C>(arrivals: impl Stream<Item = io::Result<C>>, proxy: Arc<Proxy>, mut closing: watch::Receiver<bool>)
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut arrivals, mut open) = (pin!(arrivals), JoinSet::new());
    let mut closed = closing.clone();
    loop {
        tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => break,
            Some(_) = open.join_next(), if !open.is_empty() => {}
            Some(arrived) = arrivals.next() => {
                if let Ok(connection) = arrived {
                    open.spawn(one(connection, proxy.clone(), closed.clone()));
                }
            }
        }
    }
    closed.mark_unchanged();
    loop {
        tokio::select! {
            ended = open.join_next() => if ended.is_none() { break },
            Some(late) = arrivals.next() => drop(late),
        }
    }
}

async fn one<C>(connection: C, proxy: Arc<Proxy>, mut closing: watch::Receiver<bool>)
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let proxy = proxy.clone();
        async move { Ok::<_, Infallible>(proxy.serve(request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(BUFFER_MAX);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(connection), service));
    tokio::select! {
        // An error concerns this client only.
        _ = connection.as_mut() => return,
        _ = closing.wait_for(|closing| *closing) => connection.as_mut().graceful_shutdown(),
    }
    drop(connection.await);
}
