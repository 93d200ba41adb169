//! Starts and stops followers: one for each member that can be followed.
//!
//! Must not know what a follower does.

use std::collections::BTreeMap;
use std::sync::Arc;

use murmuration::id::{Incarnation, PoolId, ReplicaId};
use murmuration::replication::peers::PEERS_MAX;
use murmuration::replication::{Member, ReplicaCard, Route, relays};
use tokio::sync::watch;

use super::connections::Connections;
use super::copies::Copies;
use super::cursor::Cursor;
use super::follower::Follower;
use super::joining::Joining;
use super::states::{States, Streams};
use super::tls::PeerTls;
use crate::clock::Clock;
use crate::environment::Network;
use crate::replication::{Members, Receiver};
use crate::supervise::{Held, Supervisor};

/// What a replica needs to follow its peers.
#[derive(Clone, Debug)]
pub struct FollowContext {
    /// The name of this replica.
    pub me: ReplicaId,
    /// What it says about itself.
    pub card: ReplicaCard,
    /// The pool that the peers are followed for.
    pub pool: PoolId,
    /// The current members.
    pub members: watch::Receiver<Members>,
    /// The network that carries streams.
    pub network: Arc<dyn Network>,
    /// The connections to peers, shared by all pools.
    pub connections: Connections,
    /// What this replica relays to its zone.
    pub copies: Copies,
    /// How streams are protected.
    pub tls: PeerTls,
    /// Takes the batches.
    pub receiver: Receiver,
    /// Changes when all facts must be received again, because the scheduler that held them restarted.
    pub resync: watch::Receiver<u64>,
    /// Changes when the certificates did: every peer is then checked again.
    pub rotated: watch::Receiver<u64>,
    /// The replica's clock.
    pub clock: Clock,
    /// Whether this replica joins. If so, it asks the longest-running peers for history.
    pub joins: Arc<Joining>,
    /// The supervisor. Each stream is one of its parts.
    pub supervisor: Supervisor,
}

/// The running followers. Dropping it ends every stream.
#[derive(Debug)]
pub struct Following {
    streams: watch::Receiver<Streams>,
    supervisor: Supervisor,
}

/// A member, and how it is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Followed {
    pub(super) member: Member,
    pub(super) route: Route,
}

/// The part that starts and stops followers.
const PART: &str = "peer-streams";

struct Followers {
    context: FollowContext,
    states: States,
    followed: BTreeMap<ReplicaId, (watch::Sender<Followed>, Held)>,
    /// Members that were lost, with their incarnation. A member that returns in the same incarnation was partitioned,
    /// not dead. It may have received facts of peers that died meanwhile, so it is asked for history.
    lost: BTreeMap<ReplicaId, Incarnation>,
}

/// Follows every member that serves streams and has a wire version in common. Ends when the returned value is dropped
/// or the sender of `members` is gone. Call it within a runtime.
pub fn follow(context: FollowContext) -> Following {
    let states = States::new(context.clock);
    let streams = states.subscribe();
    let supervisor = context.supervisor.clone();
    supervisor.vital(PART, move || Followers::new(context.clone(), states.clone()).run());
    Following { streams, supervisor }
}

/// The members that can be followed for `pool`, as that pool sees them, at most [`PEERS_MAX`].
pub(super) fn followed<'a>(pool: &'a PoolId, members: &'a Members) -> impl Iterator<Item = Member> + 'a {
    let can = |card: &ReplicaCard| card.peer.is_some() && card.is_understood();
    members.iter().filter(move |member| can(&member.card)).filter_map(|member| member.of_pool(pool)).take(PEERS_MAX)
}

// === impl Following ===

impl Following {
    /// The current streams. A watcher is woken when a peer comes or goes, or a stream goes up, goes down or catches up.
    /// The numbers are current at each read, but a change of them wakes no watcher.
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
    fn new(context: FollowContext, states: States) -> Self {
        // Streams of an earlier run of this part ended with it.
        let before: Vec<ReplicaId> = states.subscribe().borrow().keys().cloned().collect();
        before.iter().for_each(|replica| states.removed(replica));
        Self { context, states, followed: BTreeMap::new(), lost: BTreeMap::new() }
    }

    async fn run(mut self) -> Result<(), String> {
        loop {
            let members = self.context.members.borrow_and_update().clone();
            self.reconcile(&members);
            if self.context.members.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    fn reconcile(&mut self, members: &Members) {
        let pool = self.context.pool.clone();
        let me = self.context.me.clone();
        let living: BTreeMap<ReplicaId, Member> = followed(&pool, members)
            .filter(|member| member.replica != me)
            .map(|member| (member.replica.clone(), member))
            .collect();
        let (states, lost) = (&self.states, &mut self.lost);
        self.followed.retain(|replica, (known, _)| {
            let stays = living.contains_key(replica);
            if !stays {
                states.removed(replica);
                lost.insert(replica.clone(), known.borrow().member.incarnation);
            }
            stays
        });
        while self.lost.len() > PEERS_MAX {
            self.lost.pop_first();
        }
        // The longest-running first: a joiner asks it for history, and then no other.
        let mut living: Vec<_> = living.into_iter().collect();
        living.sort_by_key(|(_, member)| member.incarnation);
        for (replica, member) in living {
            let me = (&self.context.me, &self.context.card);
            let route = relays::route(me, &member, members, &pool);
            let member = Followed { member, route };
            match self.followed.get(&replica) {
                Some((known, _)) => {
                    known.send_if_modified(|known| {
                        *known != member && {
                            *known = member;
                            true
                        }
                    });
                }
                None => self.begin(&member),
            }
        }
    }

    fn begin(&mut self, followed: &Followed) {
        let member = &followed.member;
        let (sender, receiver) = watch::channel(followed.clone());
        let returned = self.lost.remove(&member.replica) == Some(member.incarnation);
        let (context, states) = (self.context.clone(), self.states.clone());
        // A follower that failed starts at 0: it may have lost facts that it received.
        let part = self.context.supervisor.tolerated(format!("peer-stream {}", member.replica), move || {
            let member = receiver.borrow().member.clone();
            let cursor = Cursor::new(&member);
            states.added(&member.replica, &cursor);
            let follower = Follower::new(&context, receiver.clone(), cursor, states.clone(), returned);
            async move {
                follower.run().await;
                Ok(())
            }
        });
        self.followed.insert(member.replica.clone(), (sender, part));
    }
}
