//! The server of the gRPC health service.
//!
//! Must not know why a replica is ready or not; it holds the transport's limits.

use std::time::Duration;

use tokio_stream::StreamExt;
use tonic::transport::Server;
use tonic_health::pb::health_server::HealthServer;

use super::HealthService;
use crate::connection::{Arrivals, Bounds, EventSink, IDLE_MAX, Repaired};
use crate::environment::Listener;

/// Most connections at once.
const BOUNDS: Bounds = Bounds { all: 1_024, of_one: 256 };
/// Most streams of one connection. A prober opens one, a watcher one for each name.
const CONCURRENT_MAX: u32 = 16;
/// Bytes of a request, which holds one name.
const REQUEST_BYTES_MAX: usize = 4_096;
/// How often an idle connection is pinged, and how long the answer may take.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// Serves until the future is dropped.
///
/// # Errors
/// When the socket failed.
pub(crate) async fn serve_health(
    listener: Listener,
    service: HealthService,
    event_sink: EventSink,
) -> Result<(), tonic::transport::Error> {
    let arrivals = Arrivals::new(listener, BOUNDS, event_sink.clone());
    let incoming = arrivals
        .map(move |accepted| accepted.map(|connection| Repaired::new(connection, Some(IDLE_MAX), event_sink.clone())));
    Server::builder()
        .max_concurrent_streams(CONCURRENT_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .add_service(HealthServer::new(service).max_decoding_message_size(REQUEST_BYTES_MAX))
        .serve_with_incoming(incoming)
        .await
}
