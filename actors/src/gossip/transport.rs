//! chitchat's messages as datagrams in envelopes.
//!
//! Must not know what the messages say. What does not open, does not join or can't be read is counted and dropped.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chitchat::transport::{Socket, Transport};
use chitchat::{ChitchatMessage, Deserializable, Serializable};
use murmuration::id::ReplicaId;
use tokio::time::sleep;

use super::envelope::Envelope;
use super::parts::{Cutter, Joiner};
use crate::flock::{Ear, Lane};
use crate::world::Datagrams;

/// Bytes of a datagram at most, and one more than can come.
const DATAGRAM_BYTES_MAX: usize = 1 << 16;
/// How long receiving pauses after the socket failed, so that a broken one does not spin.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Opens the one socket that it was given.
pub(super) struct SealedTransport {
    socket: Mutex<Option<Box<dyn Datagrams>>>,
    envelope: Arc<Envelope>,
    ear: Ear,
}

struct SealedSocket {
    socket: Box<dyn Datagrams>,
    envelope: Arc<Envelope>,
    cutter: Cutter,
    joiner: Joiner,
    datagram: Box<[u8]>,
    ear: Ear,
}

// === impl SealedTransport ===

impl SealedTransport {
    /// A transport over `socket`; what goes wrong is told to `ear`.
    pub(super) fn new(socket: Box<dyn Datagrams>, envelope: Arc<Envelope>, ear: Ear) -> Self {
        Self { socket: Mutex::new(Some(socket)), envelope, ear }
    }
}

#[async_trait]
impl Transport for SealedTransport {
    async fn open(&self, _: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        let socket = socket.ok_or_else(|| anyhow::anyhow!("the socket was opened before"))?;
        Ok(Box::new(SealedSocket {
            socket,
            envelope: self.envelope.clone(),
            cutter: Cutter::default(),
            joiner: Joiner::default(),
            datagram: vec![0; DATAGRAM_BYTES_MAX].into(),
            ear: self.ear.clone(),
        }))
    }
}

// === impl SealedSocket ===

impl SealedSocket {
    /// The message in the first `length` bytes of the buffer, once it is whole.
    fn read(&mut self, from: SocketAddr, length: usize) -> Option<ChitchatMessage> {
        let Some(part) = self.envelope.open(&self.datagram[..length]) else {
            return self.drop_it("unsealed");
        };
        match self.joiner.join(from, &part) {
            Ok(None) => None,
            Ok(Some(message)) => match ChitchatMessage::deserialize(&mut message.as_slice()) {
                Ok(message) => Some(message),
                Err(_) => self.drop_it("malformed"),
            },
            Err(()) => self.drop_it("malformed"),
        }
    }

    /// Nobody is named: the address of a datagram proves nothing, and would fill the log's memory.
    fn drop_it(&self, why: &'static str) -> Option<ChitchatMessage> {
        self.ear.ignore(&ReplicaId("unknown".to_owned()), why);
        None
    }
}

#[async_trait]
impl Socket for SealedSocket {
    /// A datagram that can't be sent is lost, as any can be: the next round says it again.
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        let Some(parts) = self.cutter.cut(&message.serialize_to_vec()) else {
            tracing::warn!("a gossip message was too large to be sent; is a value beyond its budget?");
            return Ok(());
        };
        for part in parts {
            let Some(datagram) = self.envelope.wrap(&part) else { continue };
            match self.socket.send_to(&datagram, to).await {
                Ok(sent) => self.ear.said(Lane::Gossip, sent),
                Err(error) => tracing::debug!(%to, %error, "a gossip datagram was not sent"),
            }
        }
        Ok(())
    }

    /// Can be dropped at any await without losing more than a datagram.
    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        loop {
            match self.socket.recv_from(&mut self.datagram).await {
                Ok((length, from)) => {
                    if let Some(message) = self.read(from, length) {
                        return Ok((from, message));
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "a gossip datagram was not received");
                    sleep(ERROR_PAUSE).await;
                }
            }
        }
    }
}
