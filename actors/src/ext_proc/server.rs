//! The socket of the ext-proc service.
//!
//! Must not know streams or requests; it holds the transport's limits.

use std::future::Future;
use std::time::Duration;

use murmuration_proto::ext_proc::ExternalProcessorServer;
use tokio_stream::StreamExt;
use tonic::transport::Server;

use super::connection_id::numbered;
use super::service::Service;
use crate::connection::{Arrivals, Bounds, EventSink, IDLE_MAX, Repaired};
use crate::environment::Listener;
use crate::scheduler::Decider;
use crate::tls::{self, ServerTls};

/// The flow-control window of one stream in bytes: a 100k-token body need not wait for a round trip.
const STREAM_WINDOW: u32 = 1 << 20;
/// The window of one connection, which carries many streams.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// How often an idle connection is pinged, and how long its proxy may take to answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// Connections at once. A gateway opens a few for each of its workers.
const BOUNDS: Bounds = Bounds { all: 4_096, of_one: 1_024 };

/// Serves until `shutdown` resolves. Then it accepts no new connection or stream, and returns when the open streams
/// have ended. Streams may last as long as the longest answer. A caller that can't wait drops the future, which cuts
/// them.
pub async fn serve<A: Decider>(
    listener: Listener,
    tls: Option<ServerTls>,
    service: Service<A>,
    event_sink: EventSink,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), tonic::transport::Error> {
    let limits = service.settings().limits;
    // Above the service's own limit, so that a stream over that limit is answered and does not wait in the proxy.
    let concurrent = u32::try_from(limits.streams_max).unwrap_or(u32::MAX).saturating_add(1_024);
    let processor = ExternalProcessorServer::new(service)
        .max_decoding_message_size(limits.message_bytes)
        .max_encoding_message_size(usize::MAX);
    let router = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(concurrent)
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .add_service(processor);
    let arrivals = Arrivals::new(listener, BOUNDS, event_sink.clone());
    match tls {
        None => {
            let incoming = arrivals.map(move |io| io.map(|io| Repaired::new(io, Some(IDLE_MAX), event_sink.clone())));
            router.serve_with_incoming_shutdown(numbered(incoming), shutdown).await
        }
        Some(tls) => {
            let incoming = tls::incoming(arrivals, tls);
            let incoming = incoming.map(move |io| io.map(|io| Repaired::new(io, Some(IDLE_MAX), event_sink.clone())));
            router.serve_with_incoming_shutdown(numbered(incoming), shutdown).await
        }
    }
}

#[cfg(test)]
mod tests;
