//! The socket that followers connect to.
//!
//! Must not know what facts mean. It holds the limits of the transport.

use std::future::Future;
use std::time::Duration;

use murmuration::replication::POOLS_MAX;
use murmuration::replication::peers::PEERS_MAX;
use murmuration_proto::peer::ReplicationServer;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_stream::StreamExt;
use tonic::transport::Server;

use super::KEEPALIVE;
use super::copies::Copies;
use super::incoming::Certificates;
use super::service::Service;
use super::tls::{PeerTls, PeerTlsError};
use crate::connection::{Arrivals, Bounds, EventSink, Repaired};
use crate::environment::Listener;
use crate::replication::{Members, Publisher, Receiver};

/// Bytes of a request at most; it holds three names and four numbers.
const REQUEST_BYTES_MAX: usize = 1_536;
/// Streams of one connection. A follower opens one for each pool, and one for each replica that is relayed to it.
const CONCURRENT_MAX: u32 = (POOLS_MAX * PEERS_MAX) as u32;
/// Connections at once. A peer opens one, and another when the stream of a pool calls again.
const BOUNDS: Bounds = Bounds { all: 1_024, of_one: 512 };
/// How long followers have to receive the last batch.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// What followers are served, and who may follow.
#[derive(Clone, Debug)]
pub struct Serving {
    /// The facts of this replica, by pool.
    pub publishers: Vec<Publisher>,
    /// What this replica relays to its zone.
    pub copies: Copies,
    /// Counts what is sent and which followers are rejected.
    pub receiver: Receiver,
    /// The current members. Only they may follow.
    pub members: watch::Receiver<Members>,
    /// Counts changes of the certificates. Each change ends all streams, so that followers call again and are checked
    /// again.
    pub rotated: watch::Sender<u64>,
}

/// Why a replica can't be followed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The certificates can't be used.
    #[error(transparent)]
    Tls(#[from] PeerTlsError),
    /// The socket failed.
    #[error("peer streams can't be served")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves at most 256 followers of each pool until `closed` resolves, then sends each its last batch and returns within
/// a second.
/// Dropping the future ends the streams too.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve(
    listener: Listener,
    tls: PeerTls,
    serving: Serving,
    closed: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let (closing, closes) = watch::channel(false);
    let (named, receiver, rotated) = (tls.names_replicas(), serving.receiver.clone(), serving.rotated.clone());
    let certificates = match tls {
        PeerTls::Plain => None,
        PeerTls::Mutual { folder, .. } => Some(Certificates::read(folder)?),
    };
    let replication = ReplicationServer::new(Service::new(serving, named, closes.clone()), REQUEST_BYTES_MAX);
    let router = Server::builder()
        .max_concurrent_streams(CONCURRENT_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .add_service(replication);
    let mut close_signal = closes.clone();
    let shutdown = async move { drop(close_signal.wait_for(|closing| *closing).await) };
    let flush = async move {
        closed.await;
        closing.send_replace(true);
        sleep(FLUSH_TIMEOUT).await;
    };
    let emitter = receiver.clone();
    let events = EventSink::new("peers", move |event| emitter.emit(event));
    let arrivals = Arrivals::new(listener, BOUNDS, events.clone());
    let served = async {
        // A follower sends one request and then only receives, so its connection is silent by design.
        match certificates {
            None => {
                let incoming = arrivals.map(move |conn| conn.map(|conn| Repaired::new(conn, None, events.clone())));
                router.serve_with_incoming_shutdown(incoming, shutdown).await
            }
            Some(certificates) => {
                let incoming = certificates.incoming(arrivals, receiver.clone());
                let incoming = incoming.map(move |conn| conn.map(|conn| Repaired::new(conn, None, events.clone())));
                tokio::select! {
                    served = router.serve_with_incoming_shutdown(incoming, shutdown) => served,
                    () = certificates.follow(receiver, rotated) => Ok(()),
                }
            }
        }
    };
    tokio::select! {
        biased;
        served = served => Ok(served?),
        () = flush => Ok(()),
    }
}
