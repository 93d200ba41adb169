//! Who is followed: one follower for each member of the members that can be followed.
//!
//! Must not know what a follower does.

use std::collections::BTreeMap;
use std::sync::Arc;

use murmuration::id::{Incarnation, ReplicaId};
use murmuration::replication::Member;
use murmuration::replication::peers::PEERS_MAX;
use tokio::sync::watch;

use super::cursor::Cursor;
use super::follower::Follower;
use super::joining::Joining;
use super::states::{States, Streams};
use super::tls::PeerTls;
use crate::clock::Clock;
use crate::environment::Network;
use crate::replication::{Members, Receiver};
use crate::supervise::{Held, Supervisor};

/// What a replica listens with.
#[derive(Clone, Debug)]
pub struct Listening {
    /// Its own name.
    pub me: ReplicaId,
    /// Those who live.
    pub members: watch::Receiver<Members>,
    /// Who carries streams.
    pub network: Arc<dyn Network>,
    /// How streams are protected.
    pub tls: PeerTls,
    /// Whom batches are given to.
    pub receiver: Receiver,
    /// Changes when all must be heard from the beginning, because whoever held it was born again.
    pub rehear: watch::Receiver<u64>,
    /// Changes when the certificates did: every peer is checked anew.
    pub rotated: watch::Receiver<u64>,
    /// The replica's clock.
    pub clock: Clock,
    /// Whether this replica joins: then those who have lived longest are asked for history too.
    pub joins: Arc<Joining>,
    /// Where each stream is a part.
    pub supervisor: Supervisor,
}

/// All that are followed. Dropping it ends every stream.
#[derive(Debug)]
pub struct Following {
    streams: watch::Receiver<Streams>,
    supervisor: Supervisor,
}

/// The part that begins and ends followers.
const PART: &str = "peer-streams";

struct Followers {
    listening: Listening,
    states: States,
    followed: BTreeMap<ReplicaId, (watch::Sender<Member>, Held)>,
    /// Who was lost, and in which life. One that comes back in the same life was apart and not dead: it may have heard
    /// of others who died meanwhile, and so is asked for history.
    apart: BTreeMap<ReplicaId, Incarnation>,
}

/// Follows every member of the members that serves streams and is understood, until what is returned is dropped or the
/// members's sender is gone. To be called within a runtime.
pub fn follow(listening: Listening) -> Following {
    let states = States::new(listening.clock);
    let streams = states.subscribe();
    let supervisor = listening.supervisor.clone();
    supervisor.vital(PART, move || Followers::new(listening.clone(), states.clone()).run());
    Following { streams, supervisor }
}

/// The members that can be followed, at most as many as are listened to.
pub(super) fn followed(members: &Members) -> impl Iterator<Item = &Member> {
    members.iter().filter(|member| member.card.peer.is_some() && member.card.is_understood()).take(PEERS_MAX)
}

// === impl Following ===

impl Following {
    /// The streams as they are, and their changes: who came and went, which stream went up or down or caught up. Numbers
    /// are the newest whenever it is looked at, but wake nobody.
    pub fn states(&self) -> watch::Receiver<Streams> {
        self.streams.clone()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.supervisor.stop(PART);
    }
}

// === impl Followers ===

impl Followers {
    fn new(listening: Listening, states: States) -> Self {
        // Streams of an earlier run of this part ended with it.
        let before: Vec<ReplicaId> = states.subscribe().borrow().keys().cloned().collect();
        before.iter().for_each(|replica| states.removed(replica));
        Self { listening, states, followed: BTreeMap::new(), apart: BTreeMap::new() }
    }

    async fn run(mut self) -> Result<(), String> {
        loop {
            let members = self.listening.members.borrow_and_update().clone();
            self.reconcile(&members);
            if self.listening.members.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    fn reconcile(&mut self, members: &Members) {
        let living: BTreeMap<&ReplicaId, &Member> =
            followed(members).filter(|member| member.replica != self.listening.me).map(|m| (&m.replica, m)).collect();
        let (states, apart) = (&self.states, &mut self.apart);
        self.followed.retain(|replica, (known, _)| {
            let stays = living.contains_key(replica);
            if !stays {
                states.removed(replica);
                apart.insert(replica.clone(), known.borrow().incarnation);
            }
            stays
        });
        while self.apart.len() > PEERS_MAX {
            self.apart.pop_first();
        }
        // The longest-lived first: a joiner asks it for history, and then no other.
        let mut living: Vec<_> = living.into_iter().collect();
        living.sort_by_key(|(_, member)| member.incarnation);
        for (replica, member) in living {
            match self.followed.get(replica) {
                Some((known, _)) => {
                    known.send_if_modified(|known| {
                        *known != *member && {
                            *known = member.clone();
                            true
                        }
                    });
                }
                None => self.begin(member),
            }
        }
    }

    fn begin(&mut self, member: &Member) {
        let (sender, receiver) = watch::channel(member.clone());
        let apart = self.apart.remove(&member.replica) == Some(member.incarnation);
        let (listening, states) = (self.listening.clone(), self.states.clone());
        // A follower that failed begins anew: it may have lost what it heard.
        let part = self.listening.supervisor.tolerated(format!("peer-stream {}", member.replica), move || {
            let member = receiver.borrow().clone();
            let cursor = Cursor::new(&member);
            states.added(&member.replica, &cursor);
            let follower = Follower::new(&listening, receiver.clone(), cursor, states.clone(), apart);
            async move {
                follower.run().await;
                Ok(())
            }
        });
        self.followed.insert(member.replica.clone(), (sender, part));
    }
}
