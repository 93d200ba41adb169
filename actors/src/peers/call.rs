//! One call: from an address to an open stream and its greeting.
//!
//! Must not know cursors or what follows the greeting. A failed call has a kind that the follower acts on.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use murmuration::id::ReplicaId;
use murmuration::replication::codec::BATCH_BYTES_MAX;
use murmuration_proto::peer::{FollowReply, FollowRequest, ReplicationClient};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use super::connections::{Connections, PeerConnection};
use super::tls::{self, Files, PeerTls};
use super::{KEEPALIVE, STREAM_WINDOW, names};
use crate::environment::{Connection, Network};

/// How long a call may take up to its greeting.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);
/// The largest reply in bytes: a batch and the message around it.
const REPLY_BYTES_MAX: usize = BATCH_BYTES_MAX + 64;

/// Why a call ended.
#[derive(Debug)]
pub(super) enum Failure {
    /// The peer can't be reached, is busy, or went away.
    Gone(String),
    /// The reply is not a valid one.
    Malformed(String),
    /// The peer supports none of our wire versions.
    Foreign(String),
}

/// Connects to one address, whatever the URI says.
struct Connector {
    to: SocketAddr,
    network: Arc<dyn Network>,
    tls: Option<TlsConnector>,
    /// The peer whose certificate is required; `None` where certificates carry no replica names.
    named: Option<ReplicaId>,
}

/// A call that waits for its greeting. Dropped before that, also by its timeout, no further call is made on its
/// connection.
struct Opening(Option<Arc<PeerConnection>>);

// === impl Opening ===

impl Opening {
    fn succeeded(mut self) {
        self.0 = None;
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.ended();
        }
    }
}

// === impl Failure ===

impl Failure {
    /// The kind of failure that ended a stream with `status`.
    pub(super) fn of(status: &Status) -> Self {
        let why = format!("{:?}: {}", status.code(), status.message());
        match status.code() {
            // The codes that the codec uses for bytes that are no message, or too many.
            Code::Internal | Code::OutOfRange | Code::DataLoss => Self::Malformed(why),
            Code::FailedPrecondition | Code::Unimplemented => Self::Foreign(why),
            _ => Self::Gone(why),
        }
    }
}

// === impl Connector ===

impl Service<Uri> for Connector {
    type Response = TokioIo<Connection>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (to, network, tls, named) = (self.to, self.network.clone(), self.tls.clone(), self.named.clone());
        Box::pin(async move {
            let socket = network.connect(to).await?;
            Ok(TokioIo::new(match tls {
                None => socket,
                Some(tls) => {
                    let stream = tls.connect(tls::peer_name().map_err(io::Error::other)?, socket).await?;
                    if let Some(peer) = named
                        && !names::carries(stream.get_ref().1.peer_certificates(), &peer)
                    {
                        let wanted = names::wanted(&peer);
                        return Err(io::Error::other(format!(
                            "the certificate at {to} is not that of {peer}: it lacks the name {wanted}"
                        )));
                    }
                    Connection::new(stream)
                }
            }))
        })
    }
}

/// An open stream: its greeting, what follows, and the connection that it is on.
pub(super) type Opened = (FollowReply, Streaming<FollowReply>, Arc<PeerConnection>);

/// Calls `peer` at `to` and waits for its greeting. Where there is no connection to it yet, the certificates are read
/// again.
pub(super) async fn open(
    connections: &Connections,
    (peer, to): (&ReplicaId, SocketAddr),
    network: Arc<dyn Network>,
    tls: &PeerTls,
    request: FollowRequest,
) -> Result<Opened, Failure> {
    let opened = timeout(OPEN_TIMEOUT, async {
        let dial = dial(peer.clone(), to, network, tls, connections.window());
        let connection = connections.to(peer, to, dial).await?;
        let opening = Opening(Some(connection.clone()));
        let (greeting, stream) = greeted(connection.channel.clone(), to, request).await?;
        opening.succeeded();
        Ok((greeting, stream, connection))
    });
    opened.await.unwrap_or_else(|_| Err(Failure::Gone(format!("no greeting from {to} within {OPEN_TIMEOUT:?}"))))
}

async fn dial(
    peer: ReplicaId,
    to: SocketAddr,
    network: Arc<dyn Network>,
    tls: &PeerTls,
    window: u32,
) -> Result<Channel, Failure> {
    let named = tls.names_replicas().then_some(peer);
    let tls = match tls {
        PeerTls::Plain => None,
        PeerTls::Mutual { folder, .. } => {
            let client = Files::read(folder).and_then(|files| files.client());
            Some(TlsConnector::from(client.map_err(|error| Failure::Gone(error.to_string()))?))
        }
    };
    // The connector has the address. This URI only gives the authority of requests.
    Endpoint::from_static("http://murmuration-peer")
        .http2_keep_alive_interval(KEEPALIVE.0)
        .keep_alive_timeout(KEEPALIVE.1)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(window)
        .connect_with_connector(Connector { to, network, tls, named })
        .await
        .map_err(|error| Failure::Gone(format!("can't connect to {to}: {}", innermost(&error))))
}

async fn greeted(
    channel: Channel,
    to: SocketAddr,
    request: FollowRequest,
) -> Result<(FollowReply, Streaming<FollowReply>), Failure> {
    let mut client = ReplicationClient::new(channel, REPLY_BYTES_MAX);
    let mut stream = client.follow(request).await.map_err(|status| Failure::of(&status))?;
    match stream.message().await {
        Ok(Some(greeting)) if greeting.batch.is_empty() => Ok((greeting, stream)),
        Ok(Some(_)) => Err(Failure::Malformed(format!("{to} began without a greeting"))),
        Ok(None) => Err(Failure::Gone(format!("{to} ended the stream before its greeting"))),
        Err(status) => Err(Failure::of(&status)),
    }
}

/// The innermost cause: the transport's own message only says that there was an error.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
