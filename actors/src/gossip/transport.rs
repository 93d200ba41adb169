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
use tokio::time::{Instant, sleep};

use super::envelope::Envelope;
use super::parts::{Cutter, Joiner};
use crate::flock::{Ear, Lane};
use crate::pulse::Pulse;
use crate::world::Datagrams;

/// Bytes of a datagram at most, and one more than can come.
const DATAGRAM_BYTES_MAX: usize = 1 << 16;
/// How long receiving pauses after the socket failed, so that a broken one does not spin.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// For how long a replica that stood still hears no gossip: what waited in its socket is read at once, and would seem as
/// young as if it had just been said. It says nothing either: chitchat makes up for each round that it missed, with words
/// from before. The next round says all again.
const DEAF: Duration = Duration::from_millis(10);

/// Opens the one socket that it was given.
pub(super) struct SealedTransport {
    socket: Mutex<Option<Box<dyn Datagrams>>>,
    envelope: Arc<Envelope>,
    interval: Duration,
    ear: Ear,
}

struct SealedSocket {
    socket: Box<dyn Datagrams>,
    envelope: Arc<Envelope>,
    cutter: Cutter,
    joiner: Joiner,
    datagram: Box<[u8]>,
    /// chitchat asks for a message at least once in each of its intervals.
    pulse: Pulse,
    deaf_until: Option<Instant>,
    ear: Ear,
}

// === impl SealedTransport ===

impl SealedTransport {
    /// A transport over `socket`, for a chitchat of this `interval`; what goes wrong is told to `ear`.
    pub(super) fn new(socket: Box<dyn Datagrams>, envelope: Arc<Envelope>, interval: Duration, ear: Ear) -> Self {
        Self { socket: Mutex::new(Some(socket)), envelope, interval, ear }
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
            pulse: Pulse::each(self.interval),
            deaf_until: None,
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

    /// Whether this replica stood still until now, or until just now.
    fn is_deaf(&mut self) -> bool {
        let now = Instant::now();
        if self.pulse.missed() {
            self.deaf_until = Some(now + DEAF);
        }
        self.pulse.rest();
        self.deaf_until.is_some_and(|until| now < until)
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
        if self.is_deaf() {
            return Ok(());
        }
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
        let _ = self.is_deaf();
        loop {
            match self.socket.recv_from(&mut self.datagram).await {
                Ok(_) if self.is_deaf() => {}
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::net::UdpSocket;
    use tokio::time::{advance, pause, resume, timeout};

    use super::*;
    use crate::scheduler::SchedulerHandle;
    use crate::telemetry::Telemetry;
    use crate::telemetry::span::Tracer;

    async fn opened(socket: UdpSocket) -> Box<dyn Socket> {
        let (_, scheduler) = SchedulerHandle::unborn(Duration::from_secs(1));
        let ear = Ear::new(ReplicaId("a".into()), scheduler, Telemetry::new("pool", Tracer::default()).unwrap());
        let (interval, at) = (Duration::from_millis(50), socket.local_addr().unwrap());
        SealedTransport::new(Box::new(socket), Arc::new(Envelope::new("tier", None)), interval, ear)
            .open(at)
            .await
            .unwrap()
    }

    async fn hears(socket: &mut Box<dyn Socket>) -> bool {
        timeout(Duration::from_millis(200), socket.recv()).await.is_ok()
    }

    #[tokio::test]
    async fn who_stood_still_does_not_make_up_for_what_it_did_not_say() {
        let [a, b] = [UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap()];
        let (to, mut b, mut said) = (a.local_addr().unwrap(), opened(b).await, [0; 64]);
        pause();
        advance(Duration::from_secs(3)).await;
        b.send(to, ChitchatMessage::BadCluster).await.unwrap();
        advance(DEAF).await;
        resume();
        assert!(timeout(Duration::from_millis(100), a.recv(&mut said)).await.is_err());
        b.send(to, ChitchatMessage::BadCluster).await.unwrap();
        assert!(timeout(Duration::from_secs(5), a.recv(&mut said)).await.is_ok());
    }

    #[tokio::test]
    async fn what_waited_while_the_replica_stood_still_is_not_heard_and_the_next_word_is() {
        let [a, b] = [UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap()];
        let to = a.local_addr().unwrap();
        let (mut a, mut b) = (opened(a).await, opened(b).await);
        b.send(to, ChitchatMessage::BadCluster).await.unwrap();
        assert!(hears(&mut a).await);
        b.send(to, ChitchatMessage::BadCluster).await.unwrap();
        pause();
        advance(Duration::from_secs(3)).await;
        resume();
        assert!(!hears(&mut a).await);
        let mut c = opened(UdpSocket::bind("127.0.0.1:0").await.unwrap()).await;
        c.send(to, ChitchatMessage::BadCluster).await.unwrap();
        assert!(hears(&mut a).await);
    }
}
