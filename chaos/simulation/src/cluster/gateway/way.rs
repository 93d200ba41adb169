//! A gRPC channel to one replica over the simulated network.
//!
//! Must not know which messages are sent over it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use murmuration_actors::environment::{Connection, Network};
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};

use crate::cluster::net::NodeNetwork;

/// The interval of keepalive pings on a connection, and their timeout.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(1));
/// The timeout of connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Connects to one address and ignores the URI.
struct Connector {
    network: NodeNetwork,
    to: SocketAddr,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Connection>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (network, to) = (self.network.clone(), self.to);
        Box::pin(async move { Ok(TokioIo::new(network.connect(to).await?)) })
    }
}

/// The channel. It connects on first use, and again after the connection broke. Must be called within a runtime.
pub(super) fn to(network: NodeNetwork, to: SocketAddr) -> Channel {
    Endpoint::from_static("http://replica")
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE.0)
        .keep_alive_timeout(KEEPALIVE.1)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(16 << 20)
        .connect_with_connector_lazy(Connector { network, to })
}
