//! The socket of a lane with all that protects it. It outlives each start of chitchat: who was met stays met.
//!
//! Must not know chitchat. What goes out is wrapped here, and what comes in is opened and judged; answers that prove
//! nothing but an address go straight back.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use murmuration::id::{Incarnation, ReplicaId};
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
    /// Whether datagrams of the first release are taken, and sent to those who have shown no newer one.
    version_one: bool,
    random: SystemRandom,
    clock: Clock,
    receiver: Receiver,
    fanout: Fanout,
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// A part that is believed.
    Part(Vec<u8>),
    /// The sender told what it wants back: what it did not believe can be sent again.
    Token,
    /// Nothing that leads on.
    Nothing,
}

// === impl Link ===

impl Link {
    /// The link of `me`, a name and the incarnation it begins as, which others reach at `advertise`; for a lane of this `interval`.
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
        let tokens = Tokens::new(drawn(&random)?, interval);
        let sessions = Mutex::new(Sessions::new(me.0, me.1, drawn(&random)?, tokens));
        let (envelope, version_one) = protection;
        let (clock, fanout) = (Clock::start(), Fanout::new(advertise, interval));
        Ok(Self { socket, envelope, sessions, version_one, random, clock, receiver, fanout })
    }

    /// Begins anew as `incarnation`.
    ///
    /// # Errors
    /// [`GossipError::Random`] when the system has no randomness.
    pub(super) fn begin(&self, incarnation: Incarnation) -> Result<(), GossipError> {
        let boot: Boot = drawn(&self.random)?;
        self.sessions().begin(incarnation, boot);
        Ok(())
    }

    /// The incarnation that it speaks as.
    pub(super) fn incarnation(&self) -> Incarnation {
        self.sessions().incarnation()
    }

    /// The highest incarnation of our name that others remember, when it is not lower than ours.
    pub(super) fn outlived(&self) -> Option<Incarnation> {
        self.sessions().outlived()
    }

    /// Others tell that these replicas live.
    pub(super) fn note<'a>(&self, living: impl Iterator<Item = (&'a ReplicaId, Incarnation)>) {
        let (now, mut sessions) = (self.clock.now(), self.sessions());
        living.for_each(|(replica, incarnation)| sessions.note(replica, incarnation, now));
    }

    /// See [`Fanout::told_by_streams`].
    pub(super) fn told_by_streams(&self, peers: impl Iterator<Item = SocketAddr>) {
        self.fanout.told_by_streams(peers);
    }

    /// Whether an exchange with `peer` shall begin now.
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
            let older = drawn(&self.random).ok().and_then(|dice| self.envelope.wrap_version_one(dice, part));
            self.put_bytes(older, to).await;
        }
    }

    /// Sends again what `to` did not believe for want of a token.
    pub(super) async fn send_again(&self, to: SocketAddr) {
        let part = self.sessions().again(to);
        if let Some(part) = part {
            self.send(to, &part).await;
        }
    }

    /// Waits for a datagram; gives its length and who sent it.
    ///
    /// # Errors
    /// When the socket failed; it may recover.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> std::io::Result<(usize, SocketAddr)> {
        self.socket.recv_from(buffer).await
    }

    /// What the datagram in `bytes` means. Answers it where it proves nothing.
    pub(super) async fn take(&self, from: SocketAddr, bytes: &[u8]) -> Came {
        if envelope::is_version_one(bytes) {
            return match self.envelope.open_version_one(bytes) {
                Some(part) if self.version_one => Came::Part(part),
                Some(_) => self.ignore("old-envelope"),
                None => self.ignore("unsealed"),
            };
        }
        let Some(datagram) = self.envelope.open(bytes) else { return self.ignore("unsealed") };
        let verdict = self.sessions().judge(from, datagram, self.clock.now());
        match verdict {
            Verdict::Take(part) => Came::Part(part),
            Verdict::Done => Came::Token,
            Verdict::Ignore(why) => self.ignore(why),
            Verdict::Answer(answer, why) => {
                self.put(&answer, from).await;
                why.map_or(Came::Nothing, |why| self.ignore(why))
            }
        }
    }

    /// Counts what was not taken. Nobody is named: the address of a datagram proves nothing, and would fill the log's memory.
    pub(super) fn ignore(&self, why: &'static str) -> Came {
        self.receiver.ignore(&ReplicaId("unknown".to_owned()), why);
        Came::Nothing
    }

    async fn put(&self, datagram: &Datagram, to: SocketAddr) {
        self.put_bytes(self.envelope.wrap(datagram), to).await;
    }

    /// A datagram that can't be sent is lost, as any can be: the next round says it again.
    async fn put_bytes(&self, bytes: Option<Vec<u8>>, to: SocketAddr) {
        let Some(bytes) = bytes else { return };
        match self.socket.send_to(&bytes, to).await {
            Ok(sent) => self.receiver.count_sent(Lane::Gossip, sent),
            Err(error) => tracing::debug!(%to, %error, "a gossip datagram was not sent"),
        }
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        // Every change of them is whole before anything in it can panic.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn drawn<const N: usize>(random: &SystemRandom) -> Result<[u8; N], GossipError> {
    let mut bytes = [0; N];
    random.fill(&mut bytes).map_err(|_| GossipError::Random)?;
    Ok(bytes)
}
