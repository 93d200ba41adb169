//! Connections of peers whose handshake is done, under the certificates that are in the folder now.
//!
//! Must not know what is served. Who is no peer is counted.

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

/// How long a peer may take to shake hands.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(3);
/// Handshakes under way at once; a quarter of them with one address, where a whole tier may run in a test.
const HANDSHAKES_MAX: usize = 256;
/// How often the files are looked at. Their bytes are compared: a mounted secret changes by a swap of links.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

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

    /// Connections of `arrivals`, handshake done; `receiver` counts who is no peer.
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

    /// Follows the folder, for ever. `rotated` counts its changes. Files that can't be used are told once, and what was in
    /// force stays.
    pub(super) async fn follow(mut self, receiver: Receiver, rotated: watch::Sender<u64>) {
        let mut reported = None;
        loop {
            sleep(LOOK_INTERVAL).await;
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

/// `None` for whoever is no peer, or not in time. Who it is is known by address only.
async fn shake_hands(
    acceptor: TlsAcceptor,
    socket: Connection,
    from: ReplicaId,
    receiver: Receiver,
) -> Option<TlsStream<Connection>> {
    match timeout(HANDSHAKE_PATIENCE, acceptor.accept(socket)).await.ok()? {
        Ok(stream) if tls::is_peer(stream.get_ref().1.peer_certificates()) => Some(stream),
        Ok(_) => {
            receiver.ignore(&from, "certificate");
            None
        }
        // What TLS refuses is invalid data; all else is a connection that broke, such as a prober's.
        Err(error) => {
            if error.kind() == io::ErrorKind::InvalidData {
                receiver.ignore(&from, "certificate");
            }
            None
        }
    }
}
