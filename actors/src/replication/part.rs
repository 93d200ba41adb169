//! This replica's part in replication: its lanes, started together and left together.
//!
//! Must not know what is sent over them, or how a replica is put together.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use murmuration::id::{Incarnation, PoolId};
use murmuration::replication::{Keeper, ReplicaCard};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::salt::Agreement;
use super::{Keeping, Members, Publisher, Receiver, ReplicationSettings, follow_members};
use crate::admin::Readiness;
use crate::clock::Clock;
use crate::environment::{Listener, Network, PeerFeed, SharedListener};
use crate::gossip::{Gossip, GossipError, GossipSettings, Health};
use crate::peers::{
    self, Connections, Copies, FollowContext, Following, Joining, PeerTls, PeerTlsError, Serving, Streams,
};
use crate::scheduler::SchedulerHandle;
use crate::supervise::{Ended, Supervisor};

/// The supervised part that is the gossip lane.
const GOSSIP: &str = "gossip";
/// How long a starting replica waits for its first peer.
const FIRST_PEER_WAIT: Duration = Duration::from_secs(1);
/// After a scheduler's restart, the pause between two requests for all that peers know: longer than their messages take.
const RESYNC_AGAIN: Duration = Duration::from_millis(500);
/// How long gossip takes to bring the pages of the living peers.
const PAGES_WAIT: Duration = Duration::from_millis(500);

/// Why a replica can't take part in replication.
#[derive(Debug, thiserror::Error)]
pub enum ReplicationError {
    /// Gossip can't start.
    #[error(transparent)]
    Gossip(#[from] GossipError),
    /// The certificates of peer streams can't be used.
    #[error(transparent)]
    Tls(#[from] PeerTlsError),
    /// The socket of gossip can't be bound.
    #[error("can't receive gossip on {0} (--gossip-port): {1}; is the port taken?")]
    Bind(SocketAddr, std::io::Error),
}

/// What replication works with.
#[derive(Clone, Debug)]
pub struct Links {
    /// Takes what peers publish.
    pub receiver: Receiver,
    /// The pools.
    pub pools: Vec<PoolLinks>,
    /// The replica's clock.
    pub clock: Clock,
    /// The network that the lanes use.
    pub network: Arc<dyn Network>,
    /// Peers that the environment finds, beside those that are given by name.
    pub found: Option<PeerFeed>,
    /// Supervises the lanes as parts.
    pub supervisor: Supervisor,
    /// A salt that was drawn for a tier without one, and where the agreed one goes; `None` where it was configured.
    pub salt: Option<(u128, watch::Sender<u128>)>,
    /// Shows whether the replica is isolated.
    pub readiness: Arc<watch::Sender<Readiness>>,
}

/// What replication works with for one pool.
#[derive(Clone, Debug)]
pub struct PoolLinks {
    /// What this replica publishes.
    pub publisher: Publisher,
    /// Which endpoints this replica watches; `None` where every replica watches all.
    pub keeping: Option<Keeping>,
    /// The scheduler, whose restarts make the lanes deliver everything again.
    pub scheduler: SchedulerHandle,
    /// Supervises the pool's streams as parts.
    pub supervisor: Supervisor,
    /// Held back until the snapshots of all peers have arrived.
    pub readiness: Arc<watch::Sender<Readiness>>,
}

/// What the admin page reads.
#[derive(Clone, Debug)]
pub struct ReplicationView {
    /// The pool that it is about.
    pub pool: PoolId,
    /// The living peers.
    pub members: watch::Receiver<Members>,
    /// The current incarnation of this replica.
    pub incarnation: watch::Receiver<Incarnation>,
    /// The streams to them; `None` where facts travel by gossip alone.
    pub streams: Option<watch::Receiver<Streams>>,
}

/// The lanes of this replica. Dropping it silences the replica at once, as if killed.
#[derive(Debug)]
pub struct Replication {
    gossip: Gossip,
    /// The streams of each pool; none where facts travel by gossip alone.
    following: Vec<(PoolId, Option<Following>)>,
    members: watch::Receiver<Members>,
    closing: watch::Sender<bool>,
    server: Option<Ended>,
    supervisor: Supervisor,
    /// Those of the pools.
    pools: Vec<Supervisor>,
}

// === impl ReplicationView ===

impl ReplicationView {
    /// The members that serve the pool, as it sees them.
    pub fn of_pool(&self) -> Members {
        self.members.borrow().iter().filter_map(|member| member.of_pool(&self.pool)).collect()
    }
}

// === impl Replication ===

impl Replication {
    /// Starts the lanes. `streams` is the socket that peers follow this replica on.
    ///
    /// # Errors
    /// See [`ReplicationError`].
    pub async fn start(
        settings: ReplicationSettings,
        streams: Option<Listener>,
        links: Links,
    ) -> Result<Self, ReplicationError> {
        let links = Links { receiver: links.receiver.in_zone(&settings.zone), ..links };
        let me = Keeper { replica: settings.me.clone(), zone: settings.zone.clone() };
        let tls = settings.streams.as_ref().map(|(_, tls)| tls.clone());
        let publishers: Vec<Publisher> = links.pools.iter().map(|pool| pool.publisher.clone()).collect();
        let lane = gossip_settings(&settings, &publishers, (&*links.network, links.found.clone())).await?;
        let gossip = Gossip::start(lane, publishers.clone(), links.receiver.clone()).await?;
        let members = gossip.members();
        let ((closing, closed), (rotated, rotates)) = (watch::channel(false), watch::channel(0));
        let supervisor = links.supervisor.clone();
        let receiver = links.receiver.clone();
        let copies = Copies::default();
        let (card, copied) = (gossip.card(), copies.clone());
        let serving = Serving { publishers, copies, receiver, members: members.clone(), rotated };
        let server = streams.zip(tls.clone()).map(|(listener, tls)| serve(&supervisor, listener, tls, serving, closed));
        let (health, ready) = (gossip.health(), links.readiness.clone());
        supervisor.vital(GOSSIP, move || lane_fails(health.clone(), ready.clone()));
        let keeping = |pool: &PoolLinks| Some((pool.publisher.pool().clone(), pool.keeping.clone()?));
        let keeping: Vec<_> = links.pools.iter().filter_map(keeping).collect();
        let (followed, receiver) = (members.clone(), links.receiver.clone());
        supervisor.vital("members", move || {
            let (members, me, receiver, keeping) = (followed.clone(), me.clone(), receiver.clone(), keeping.clone());
            async move {
                follow_members(members, me, receiver, keeping).await;
                Ok(())
            }
        });
        let (settled, settles) = watch::channel(links.salt.is_none());
        let connections = Connections::new(links.pools.len());
        let follow = |pool: &PoolLinks| {
            let (resync, resyncs) = watch::channel(0);
            let joins = Arc::new(Joining::begins());
            resync_after_restarts(&pool.supervisor, &pool.scheduler, gossip.resyncing(), resync, joins.clone());
            let following = tls.clone().map(|tls| {
                peers::follow(FollowContext {
                    me: settings.me.clone(),
                    card: card.clone(),
                    pool: pool.publisher.pool().clone(),
                    members: members.clone(),
                    network: links.network.clone(),
                    connections: connections.clone(),
                    copies: copied.clone(),
                    tls,
                    receiver: links.receiver.clone().only(pool.publisher.pool().clone()),
                    resync: resyncs,
                    rotated: rotates.clone(),
                    clock: links.clock,
                    joins,
                    supervisor: pool.supervisor.clone(),
                })
            });
            let streams = following.as_ref().map(Following::states);
            let (met, ready, settles) = (members.clone(), pool.readiness.clone(), settles.clone());
            let id = pool.publisher.pool().clone();
            pool.supervisor
                .vital("join", move || join(id.clone(), settles.clone(), met.clone(), streams.clone(), ready.clone()));
            (pool.publisher.pool().clone(), following)
        };
        let following = links.pools.iter().map(follow).collect();
        if let Some((drawn, apply)) = links.salt {
            let (own, (told, heard)) = ((*gossip.incarnation().borrow(), drawn), gossip.salts());
            agree(&supervisor, Agreement { own, heard, told, apply, settled, receiver: links.receiver });
        }
        let pools = links.pools.into_iter().map(|pool| pool.supervisor).collect();
        Ok(Self { gossip, following, members, closing, server, supervisor, pools })
    }

    /// What the admin page reads, of the first pool.
    pub fn view(&self) -> ReplicationView {
        let first = self.views().into_iter().next();
        first.unwrap_or_else(|| self.view_of(&PoolId::default(), None))
    }

    /// What the admin pages read, of each pool.
    pub fn views(&self) -> Vec<ReplicationView> {
        self.following.iter().map(|(pool, following)| self.view_of(pool, following.as_ref())).collect()
    }

    fn view_of(&self, pool: &PoolId, following: Option<&Following>) -> ReplicationView {
        let (members, incarnation) = (self.members.clone(), self.gossip.incarnation());
        ReplicationView { pool: pool.clone(), members, incarnation, streams: following.map(Following::states) }
    }

    /// Announces that this replica leaves: it keeps no endpoint from now on.
    pub fn drain(&self) {
        self.gossip.update_card(|card| card.draining = true);
    }

    /// Changes what this replica publishes about itself.
    pub fn update_card(&self, change: impl FnOnce(&mut ReplicaCard)) {
        self.gossip.update_card(change);
    }

    /// Bytes of each gossip value that this replica publishes, by key.
    pub fn gossip_sizes(&self) -> impl Future<Output = BTreeMap<String, usize>> + Send + use<> {
        self.gossip.sizes()
    }

    /// Leaves: followers get the last facts, and peers need not wait for a failure detector.
    pub async fn leave(mut self) {
        self.closing.send_replace(true);
        if let Some(server) = self.server.take() {
            server.wait().await;
        }
        // From here on these parts end on purpose.
        [GOSSIP, "members", "salt"].into_iter().for_each(|part| self.supervisor.stop(part));
        self.pools.iter().for_each(|pool| ["resync", "join"].into_iter().for_each(|part| pool.stop(part)));
        self.gossip.leave().await;
    }
}

async fn gossip_settings(
    settings: &ReplicationSettings,
    publishers: &[Publisher],
    (network, found): (&dyn Network, Option<PeerFeed>),
) -> Result<GossipSettings, ReplicationError> {
    let failed = |why| ReplicationError::Bind(settings.gossip, why);
    let socket = network.bind(settings.gossip).await.map_err(failed)?;
    let mut advertise = settings.advertise;
    if advertise.port() == 0 {
        advertise.set_port(socket.local_addr().map_err(failed)?.port());
    }
    let peer = settings.streams.as_ref().map(|(address, _)| *address);
    let relays = settings.relays && peer.is_some() && !settings.zone.is_empty();
    let card = ReplicaCard { relays, ..ReplicaCard::new(settings.ext_proc, peer, settings.zone.clone()) };
    Ok(GossipSettings {
        me: settings.me.clone(),
        incarnation: settings.incarnation,
        socket,
        advertise,
        seeds: settings.seeds.clone(),
        found,
        tier: settings.tier.clone(),
        interval: settings.interval,
        seal: settings.seal.clone(),
        accept_version_one: settings.accept_gossip_version_one,
        card: card.upto(settings.wire_version_max).of_pools(publishers.iter().map(Publisher::pool)),
    })
}

/// Fails when the lane fails repeatedly, and marks the replica as isolated meanwhile. A lane that restarts by itself is
/// no failure.
async fn lane_fails(mut health: watch::Receiver<Health>, ready: Arc<watch::Sender<Readiness>>) -> Result<(), String> {
    loop {
        let isolated = health.borrow_and_update().is_failing();
        ready.send_if_modified(|readiness| std::mem::replace(&mut readiness.isolated, isolated) != isolated);
        if isolated {
            return Err("the gossip lane fails again and again".to_owned());
        }
        // The task that keeps the lane up holds the sender.
        if health.changed().await.is_err() {
            return Err("the gossip lane ended".to_owned());
        }
    }
}

/// Agrees with the tier on the salt of prompts.
fn agree(supervisor: &Supervisor, agreement: Agreement) {
    supervisor.vital("salt", move || {
        let agreement = agreement.clone();
        async move {
            agreement.run().await;
            Ok(())
        }
    });
}

/// Serves peer streams until `closed` is true.
fn serve(
    supervisor: &Supervisor,
    listener: Listener,
    tls: PeerTls,
    serving: Serving,
    closed: watch::Receiver<bool>,
) -> Ended {
    let listener = SharedListener::new(listener);
    supervisor.vital("peer-server", move || {
        let (mut closes, is_closed) = (closed.clone(), closed.clone());
        let closed = async move { drop(closes.wait_for(|closed| *closed).await) };
        let served = peers::serve(listener.listener(), tls.clone(), serving.clone(), closed);
        async move {
            served.await.map_err(|error| error.to_string())?;
            if *is_closed.borrow() { Ok(()) } else { Err("its socket takes no more connections".to_owned()) }
        }
    })
}

/// A restarted scheduler holds no facts of peers: both lanes deliver everything again.
fn resync_after_restarts(
    supervisor: &Supervisor,
    scheduler: &SchedulerHandle,
    gossip: impl Fn() + Clone + Send + 'static,
    resync: watch::Sender<u64>,
    joins: Arc<Joining>,
) {
    let (scheduler, resync) = (scheduler.clone(), Arc::new(resync));
    supervisor.vital("resync", move || {
        let (mut starts, gossip) = (scheduler.starts(), gossip.clone());
        let (resync, joins) = (resync.clone(), joins.clone());
        async move {
            while starts.next().await {
                // Twice: what the dead scheduler placed last may have been on its way to those who tell it now.
                for pause in [Duration::ZERO, RESYNC_AGAIN] {
                    sleep(pause).await;
                    gossip();
                    joins.again();
                    resync.send_modify(|starts| *starts += 1);
                }
            }
            Ok(())
        }
    });
}

/// Ready once every present peer has sent all it knows of `pool`, or when that takes too long.
async fn join(
    pool: PoolId,
    mut settled: watch::Receiver<bool>,
    mut members: watch::Receiver<Members>,
    streams: Option<watch::Receiver<Streams>>,
    ready: Arc<watch::Sender<Readiness>>,
) -> Result<(), String> {
    let met = timeout(FIRST_PEER_WAIT, members.wait_for(|members| !members.is_empty())).await.is_ok();
    let caught_up = match streams {
        Some(streams) => peers::caught_up(&pool, members, streams).await,
        // Gossip has no snapshots to wait for: its pages arrive with the next rounds.
        None if met => {
            sleep(PAGES_WAIT).await;
            true
        }
        None => true,
    };
    // The sender ends only with this replica.
    let _ = settled.wait_for(|settled| *settled).await;
    if !caught_up {
        tracing::warn!("not all peers told what they know in time; this replica starts with what it heard");
    }
    ready.send_modify(|readiness| readiness.joining = false);
    Ok(())
}
