//! Identifies the connection that a stream came by: connections are numbered in the order in which they are accepted.
//!
//! Must not know the peer. tonic passes a connection's [`Connected`] info to each of its requests.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::server::Connected;

/// A connection's number; zero where it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConnectionId(pub(super) u64);

/// A connection with its number.
#[derive(Debug)]
pub(super) struct Numbered<C> {
    inner: C,
    id: ConnectionId,
}

/// The same connections, numbered from 1.
pub(super) fn numbered<C>(incoming: impl Stream<Item = io::Result<C>>) -> impl Stream<Item = io::Result<Numbered<C>>> {
    let next = AtomicU64::new(1);
    incoming.map(move |accepted| {
        accepted.map(|inner| Numbered { inner, id: ConnectionId(next.fetch_add(1, Ordering::Relaxed)) })
    })
}

impl<C> Connected for Numbered<C> {
    type ConnectInfo = ConnectionId;

    fn connect_info(&self) -> ConnectionId {
        self.id
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Numbered<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

crate::connection::forward::writes_to_inner!([C: AsyncWrite + Unpin] Numbered<C>);
