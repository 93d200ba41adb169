//! Peer connections that finished their handshake, under the certificates that are in the folder now.
//!
//! Must not know what is served. Rejected certificates are counted.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use murmuration::event::Event;
use murmuration::id::ReplicaId;
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;

use super::tls::{self, Files, PeerTlsError};
use crate::connection::Arrivals;
use crate::environment::Connection;
use crate::handshakes::Handshakes;
use crate::replication::Receiver;

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// Handshakes in progress at once. At most a quarter with one address: enough for a test's whole tier on one.
const HANDSHAKES_MAX: usize = 256;
/// How often the files are read. Their bytes are compared, because a mounted secret changes by a swap of links.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// The certificates in force, and the folder they come from.
pub(super) struct Certificates {
    folder: PathBuf,
    files: Files,
    config: watch::Sender<Arc<ServerConfig>>,
}

// === impl Certificates ===

impl Certificates {
    pub(super) fn read(folder: PathBuf) -> Result<Self, PeerTlsError> {
        let files = Files::read(&folder)?;
        let config = watch::channel(files.server()?).0;
        Ok(Self { folder, files, config })
    }

    /// Connections of `arrivals` after their handshake. `receiver` counts rejected certificates.
    pub(super) fn incoming(
        &self,
        arrivals: Arrivals,
        receiver: Receiver,
    ) -> impl Stream<Item = io::Result<TlsStream<Connection>>> + use<> {
        let config = self.config.subscribe();
        Handshakes::new(arrivals, HANDSHAKES_MAX, move |socket, from: SocketAddr| {
            let acceptor = TlsAcceptor::from(config.borrow().clone());
            shake_hands(acceptor, socket, ReplicaId(from.ip().to_string()), receiver.clone())
        })
    }

    /// Follows the folder forever. `rotated` counts its changes. Unusable files are reported once, and the previous
    /// certificates stay in force.
    pub(super) async fn follow(mut self, receiver: Receiver, rotated: watch::Sender<u64>) {
        let mut reported = None;
        loop {
            sleep(POLL_INTERVAL).await;
            let read = Files::read(&self.folder);
            if read.as_ref().is_ok_and(|files| *files == self.files) {
                reported = None;
                continue;
            }
            match read.and_then(|files| Ok((files.server()?, files))) {
                Ok((config, files)) => {
                    self.config.send_replace(config);
                    rotated.send_modify(|changes| *changes += 1);
                    (self.files, reported) = (files, None);
                    receiver.emit(&Event::Reloaded(format!("the peers' certificates in {}", self.folder.display())));
                }
                Err(error) => {
                    let why = error.to_string();
                    if reported.as_ref() != Some(&why) {
                        receiver.emit(&Event::ReloadFailed(why.clone()));
                        reported = Some(why);
                    }
                }
            }
        }
    }
}

/// `None` for an end that is no peer or is too slow. Only its address is known at this point.
async fn shake_hands(
    acceptor: TlsAcceptor,
    socket: Connection,
    from: ReplicaId,
    receiver: Receiver,
) -> Option<TlsStream<Connection>> {
    match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(socket)).await.ok()? {
        Ok(stream) if tls::is_peer(stream.get_ref().1.peer_certificates()) => Some(stream),
        Ok(_) => {
            receiver.ignore(&from, "certificate");
            None
        }
        // TLS reports a refusal as invalid data. Any other error is a broken connection, such as a probe.
        Err(error) => {
            if error.kind() == io::ErrorKind::InvalidData {
                receiver.ignore(&from, "certificate");
            }
            None
        }
    }
}
