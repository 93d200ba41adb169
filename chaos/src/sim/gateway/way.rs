//! A channel to one replica over the town's network.
//!
//! Must not know what is said over it.

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

use crate::sim::net::Socketry;

/// How often a connection is asked whether its other end lives, and how long that may take to answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(1));
/// How long connecting may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Connects to one address, whatever the URI says.
struct Connector {
    socketry: Socketry,
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
        let (socketry, to) = (self.socketry.clone(), self.to);
        Box::pin(async move { Ok(TokioIo::new(socketry.connect(to).await?)) })
    }
}

/// The channel; it connects when it is used, and again when it broke. To be called within a runtime.
pub(super) fn to(socketry: Socketry, to: SocketAddr) -> Channel {
    Endpoint::from_static("http://replica")
        .connect_timeout(PATIENCE)
        .http2_keep_alive_interval(KEEPALIVE.0)
        .keep_alive_timeout(KEEPALIVE.1)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(16 << 20)
        .connect_with_connector_lazy(Connector { socketry, to })
}
