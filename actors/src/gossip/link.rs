//! The socket of a lane with all its protection. It outlives each start of chitchat, so known peers stay known.
//!
//! Must not know chitchat. Outgoing datagrams are wrapped here; incoming ones are opened and judged. Challenges go back
//! straight from here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use murmuration::id::{Incarnation, ReplicaId};
use murmuration::replication::card::are_apart;
use ring::rand::{SecureRandom, SystemRandom};

use super::envelope::{self, Boot, Datagram, Envelope};
use super::fanout::Fanout;
use super::sessions::{Sessions, Verdict};
use super::settings::GossipError;
use super::tokens::Tokens;
use crate::clock::Clock;
use crate::environment::Datagrams;
use crate::replication::{Lane, Receiver};

/// The socket and its protection.
#[derive(Debug)]
pub(super) struct Link {
    socket: Box<dyn Datagrams>,
    envelope: Arc<Envelope>,
    sessions: Mutex<Sessions>,
    /// Whether datagrams of the first release are accepted, and sent to peers that have shown no newer version.
    version_one: bool,
    random: SystemRandom,
    clock: Clock,
    receiver: Receiver,
    fanout: Fanout,
    /// Where peers of other zones are.
    zones: Mutex<BTreeMap<SocketAddr, Arc<str>>>,
}

/// What a datagram brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LinkInput {
    /// A part that is accepted.
    Part(Vec<u8>),
    /// The token that the sender expects back: what it refused can be sent again.
    Token,
    /// Nothing to act on.
    Nothing,
}

// === impl Link ===

impl Link {
    /// The link of `me`, a name and the incarnation it starts as, which peers reach at `advertise`; for a lane of this
    /// `interval`.
    ///
    /// # Errors
    /// [`GossipError::Random`] when the system has no randomness.
    pub(super) fn new(
        me: (ReplicaId, Incarnation),
        (socket, advertise): (Box<dyn Datagrams>, SocketAddr),
        protection: (Arc<Envelope>, bool),
        interval: Duration,
        receiver: Receiver,
    ) -> Result<Self, GossipError> {
        let random = SystemRandom::new();
        let tokens = Tokens::new(random_bytes(&random)?, interval);
        let sessions = Mutex::new(Sessions::new(me.0, me.1, random_bytes(&random)?, tokens));
        let (envelope, version_one) = protection;
        let (clock, fanout) = (Clock::start(), Fanout::new(advertise, interval));
        Ok(Self { socket, envelope, sessions, version_one, random, clock, receiver, fanout, zones: Mutex::default() })
    }

    /// Restarts as `incarnation`.
    ///
    /// # Errors
    /// [`GossipError::Random`] when the system has no randomness.
    pub(super) fn begin(&self, incarnation: Incarnation) -> Result<(), GossipError> {
        let boot: Boot = random_bytes(&self.random)?;
        self.sessions().begin(incarnation, boot);
        Ok(())
    }

    /// The incarnation that it sends as.
    pub(super) fn incarnation(&self) -> Incarnation {
        self.sessions().incarnation()
    }

    /// The highest incarnation that peers remember of this replica's name, unless its own is higher.
    pub(super) fn superseded_by(&self) -> Option<Incarnation> {
        self.sessions().superseded_by()
    }

    /// Records that peers report these replicas to live.
    pub(super) fn note<'a>(&self, living: impl Iterator<Item = (&'a ReplicaId, Incarnation)>) {
        let (now, mut sessions) = (self.clock.now(), self.sessions());
        living.for_each(|(replica, incarnation)| sessions.note(replica, incarnation, now));
    }

    /// Sets the living peers and their zones, for a replica of the zone `own`; `streamed` while all of them get by
    /// stream what gossip would bring.
    pub(super) fn set_peers<'a>(
        &self,
        own: &str,
        peers: impl Iterator<Item = (SocketAddr, &'a str)> + Clone,
        streamed: bool,
    ) {
        let far = |zone: &str| are_apart(own, zone);
        self.fanout.set_stream_followers(peers.clone().map(|(at, zone)| (at, far(zone))).filter(|_| streamed));
        let zones: BTreeMap<SocketAddr, Arc<str>> =
            peers.filter(|(_, zone)| far(zone)).map(|(at, zone)| (at, zone.into())).collect();
        *self.zones() = zones;
    }

    /// Whether an exchange with `peer` may begin now.
    pub(super) fn reaches(&self, peer: SocketAddr) -> bool {
        self.fanout.reaches(peer, self.clock.now())
    }

    /// Asks `to` for a token.
    pub(super) async fn hello(&self, to: SocketAddr) {
        let datagram = self.sessions().hello(to, self.clock.now());
        self.put(&datagram, to).await;
    }

    /// Sends `part` to `to`.
    pub(super) async fn send(&self, to: SocketAddr, part: &[u8]) {
        let (datagram, known) = {
            let mut sessions = self.sessions();
            let known = sessions.knows(to);
            (sessions.message(to, part, self.clock.now()), known)
        };
        self.put(&datagram, to).await;
        if self.version_one && !known {
            let older = random_bytes(&self.random).ok().and_then(|nonce| self.envelope.wrap_version_one(nonce, part));
            self.put_bytes(older, to).await;
        }
    }

    /// Sends again what `to` refused for lack of a token.
    pub(super) async fn send_again(&self, to: SocketAddr) {
        let part = self.sessions().again(to);
        if let Some(part) = part {
            self.send(to, &part).await;
        }
    }

    /// Waits for a datagram; returns its length and its sender.
    ///
    /// # Errors
    /// When the socket failed; it may recover.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> std::io::Result<(usize, SocketAddr)> {
        self.socket.recv_from(buffer).await
    }

    /// Judges the datagram in `bytes`, and answers it with a challenge where that is due.
    pub(super) async fn take(&self, from: SocketAddr, bytes: &[u8]) -> LinkInput {
        if envelope::is_version_one(bytes) {
            return match self.envelope.open_version_one(bytes) {
                Some(part) if self.version_one => LinkInput::Part(part),
                Some(_) => self.ignore("old-envelope"),
                None => self.ignore("unsealed"),
            };
        }
        let Some(datagram) = self.envelope.open(bytes) else { return self.ignore("unsealed") };
        let verdict = self.sessions().judge(from, datagram, self.clock.now());
        match verdict {
            Verdict::Take(part) => LinkInput::Part(part),
            Verdict::Done => LinkInput::Token,
            Verdict::Ignore(why) => self.ignore(why),
            Verdict::Answer(answer, why) => {
                self.put(&answer, from).await;
                why.map_or(LinkInput::Nothing, |why| self.ignore(why))
            }
        }
    }

    /// Counts a refused datagram. Its address is not reported: an address proves nothing, and many would fill the log's
    /// memory.
    pub(super) fn ignore(&self, why: &'static str) -> LinkInput {
        self.receiver.ignore(&ReplicaId("unknown".to_owned()), why);
        LinkInput::Nothing
    }

    async fn put(&self, datagram: &Datagram, to: SocketAddr) {
        self.put_bytes(self.envelope.wrap(datagram), to).await;
    }

    /// A datagram that can't be sent is lost, as any can be: the next round sends its content again.
    async fn put_bytes(&self, bytes: Option<Vec<u8>>, to: SocketAddr) {
        let Some(bytes) = bytes else { return };
        match self.socket.send_to(&bytes, to).await {
            Ok(sent) => {
                let zone = self.zones().get(&to).cloned().unwrap_or_default();
                self.receiver.count_sent(Lane::Gossip, sent, &zone);
            }
            Err(error) => tracing::debug!(%to, %error, "a gossip datagram was not sent"),
        }
    }

    fn zones(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, Arc<str>>> {
        // It is replaced as a whole.
        self.zones.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        // A panic can't leave the sessions half changed.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn random_bytes<const N: usize>(random: &SystemRandom) -> Result<[u8; N], GossipError> {
    let mut bytes = [0; N];
    random.fill(&mut bytes).map_err(|_| GossipError::Random)?;
    Ok(bytes)
}
