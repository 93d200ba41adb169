//! Carries chitchat's messages as datagrams.
//!
//! Must not know what the messages contain. What does not join, does not pass the screen or can't be read is counted
//! and dropped.

use std::net::SocketAddr;
use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chitchat::transport::{Socket, Transport};
use chitchat::{ChitchatMessage, Deserializable, Serializable};
use tokio::time::{Instant, sleep};

use super::link::{Link, LinkInput};
use super::parts::{Cutter, Joiner};
use super::screen::Screen;
use crate::clock::Clock;
use crate::stall_detector::StallDetector;

/// Most bytes of a datagram, and one more than can arrive.
const DATAGRAM_BYTES_MAX: usize = 1 << 16;
/// How long receiving pauses after a socket error, so that a broken socket does not spin.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// How long a replica that stood still neither receives nor sends gossip. Messages that waited in its socket are read
/// at once, and would seem as young as new ones. chitchat also makes up for each round that it missed, with old values.
/// The next round sends everything again.
const STALL_PAUSE: Duration = Duration::from_millis(10);

/// Opens the one link that it was given.
pub(super) struct LinkTransport {
    link: Arc<Link>,
    me: String,
    interval: Duration,
    /// Makes chitchat's task panic with its next datagram, as its own assertions do.
    #[cfg(test)]
    pub(super) breaks: Arc<AtomicBool>,
}

struct LinkSocket {
    link: Arc<Link>,
    cutter: Cutter,
    joiner: Joiner,
    screen: Screen,
    clock: Clock,
    datagram: Box<[u8]>,
    /// chitchat asks for a message at least once in each of its intervals.
    stall_detector: StallDetector,
    paused_until: Option<Instant>,
    #[cfg(test)]
    breaks: Arc<AtomicBool>,
}

// === impl LinkTransport ===

impl LinkTransport {
    /// A transport over `link` of the replica `me`, for a chitchat of this `interval`.
    pub(super) fn new(link: Arc<Link>, me: &str, interval: Duration) -> Self {
        Self {
            link,
            me: me.to_owned(),
            interval,
            #[cfg(test)]
            breaks: Arc::default(),
        }
    }
}

#[async_trait]
impl Transport for LinkTransport {
    async fn open(&self, _: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        Ok(Box::new(LinkSocket {
            link: self.link.clone(),
            cutter: Cutter::default(),
            joiner: Joiner::default(),
            screen: Screen::new(&self.me, self.link.incarnation()),
            clock: Clock::start(),
            datagram: vec![0; DATAGRAM_BYTES_MAX].into(),
            stall_detector: StallDetector::each(self.interval),
            paused_until: None,
            #[cfg(test)]
            breaks: self.breaks.clone(),
        }))
    }
}

// === impl LinkSocket ===

impl LinkSocket {
    /// The message that `part` completes.
    fn read(&mut self, from: SocketAddr, part: &[u8]) -> Option<ChitchatMessage> {
        let message = match self.joiner.join(from, part) {
            Ok(message) => message?,
            Err(()) => return self.drop_it("malformed"),
        };
        if let Err(error) = self.screen.check(&message, self.clock.now()) {
            return self.drop_it(error.as_str());
        }
        ChitchatMessage::deserialize(&mut message.as_slice()).ok().or_else(|| self.drop_it("malformed"))
    }

    /// Whether this replica stood still until now, or until less than [`STALL_PAUSE`] ago.
    fn is_paused(&mut self) -> bool {
        let now = Instant::now();
        if self.stall_detector.missed() {
            self.paused_until = Some(now + STALL_PAUSE);
        }
        self.stall_detector.reset();
        self.paused_until.is_some_and(|until| now < until)
    }

    fn drop_it(&self, why: &'static str) -> Option<ChitchatMessage> {
        self.link.ignore(why);
        None
    }
}

#[async_trait]
impl Socket for LinkSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        let begins = matches!(message, ChitchatMessage::Syn { .. });
        if self.is_paused() || begins && !self.link.reaches(to) {
            return Ok(());
        }
        let Some(parts) = self.cutter.cut(&message.serialize_to_vec()) else {
            tracing::warn!("a gossip message was too large to be sent; is a value beyond its budget?");
            return Ok(());
        };
        for part in parts {
            self.link.send(to, &part).await;
        }
        Ok(())
    }

    /// Can be dropped at any await; at most one datagram is lost.
    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        let _ = self.is_paused();
        loop {
            match self.link.receive(&mut self.datagram).await {
                Ok(_) if self.is_paused() => {}
                Ok((length, from)) => {
                    #[cfg(test)]
                    assert!(!self.breaks.swap(false, Ordering::Relaxed), "broken by a test");
                    match self.link.take(from, &self.datagram[..length]).await {
                        LinkInput::Part(part) => {
                            if let Some(message) = self.read(from, &part) {
                                return Ok((from, message));
                            }
                        }
                        LinkInput::Token => self.link.send_again(from).await,
                        LinkInput::Nothing => {}
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
    use murmuration::id::{Incarnation, ReplicaId};
    use tokio::net::UdpSocket;
    use tokio::time::{advance, pause, resume, timeout};

    use super::super::envelope::Envelope;
    use super::*;
    use crate::replication::Receiver;
    use crate::scheduler::SchedulerHandle;
    use crate::telemetry::Telemetry;
    use crate::telemetry::span::Tracer;

    async fn opened(name: &str, socket: UdpSocket) -> Box<dyn Socket> {
        let (_, scheduler) = SchedulerHandle::unstarted(Duration::from_secs(1));
        let me = ReplicaId(name.into());
        let receiver = Receiver::new(me.clone(), scheduler, Telemetry::new("pool", Tracer::default()).unwrap());
        let (interval, at) = (Duration::from_millis(50), socket.local_addr().unwrap());
        let envelope = Arc::new(Envelope::new("tier", None));
        let link =
            Link::new((me, Incarnation(1)), (Box::new(socket), at), (envelope, false), interval, receiver).unwrap();
        LinkTransport::new(Arc::new(link), name, interval).open(at).await.unwrap()
    }

    /// Sends a message from `b` to `a`; returns whether `a` accepts it.
    async fn delivers(b: &mut Box<dyn Socket>, a: &mut Box<dyn Socket>, to: SocketAddr) -> bool {
        b.send(to, ChitchatMessage::BadCluster).await.unwrap();
        tokio::select! {
            accepted = receives(a) => accepted,
            // Receiving answers the challenge.
            _ = b.recv() => false,
        }
    }

    async fn receives(socket: &mut Box<dyn Socket>) -> bool {
        timeout(Duration::from_millis(200), socket.recv()).await.is_ok()
    }

    #[tokio::test]
    async fn after_a_stall_missed_rounds_are_not_sent() {
        let [a, b] = [UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap()];
        let (to, mut b, mut buffer) = (a.local_addr().unwrap(), opened("b", b).await, [0; 256]);
        pause();
        advance(Duration::from_secs(3)).await;
        b.send(to, ChitchatMessage::BadCluster).await.unwrap();
        advance(STALL_PAUSE).await;
        resume();
        assert!(timeout(Duration::from_millis(100), a.recv(&mut buffer)).await.is_err());
        b.send(to, ChitchatMessage::BadCluster).await.unwrap();
        assert!(timeout(Duration::from_secs(5), a.recv(&mut buffer)).await.is_ok());
    }

    #[tokio::test]
    async fn after_a_stall_buffered_gossip_is_dropped_and_the_next_message_is_received() {
        let [a, b] = [UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap()];
        let to = a.local_addr().unwrap();
        let (mut a, mut b) = (opened("a", a).await, opened("b", b).await);
        assert!(delivers(&mut b, &mut a, to).await);
        b.send(to, ChitchatMessage::BadCluster).await.unwrap();
        pause();
        advance(Duration::from_secs(3)).await;
        resume();
        assert!(!receives(&mut a).await);
        let mut c = opened("c", UdpSocket::bind("127.0.0.1:0").await.unwrap()).await;
        assert!(delivers(&mut c, &mut a, to).await);
    }
}
