//! Peer streams on loopback: published facts arrive once and in order. Faulty peers and outsiders change nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod liars;
mod life;
mod outsiders;
mod pools;
mod relays;
mod server;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use murmuration::id::{BlockHash, EndpointKey, Incarnation, PoolId, ReplicaId};
use murmuration::replication::{Batch, Fact, InFlightReport, Member, Placement, Record, ReplicaCard};
use murmuration::time::Timestamp;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::subscriber_slots::SUBSCRIBERS_MAX;
use super::*;
use crate::clock::Clock;
use crate::environment::{Network, Sockets};
use crate::replication::{Members, Publisher, Receiver};
use crate::scheduler::{Message, SchedulerHandle};
use crate::telemetry::Telemetry;
use crate::telemetry::span::Tracer;

type Received = Arc<Mutex<Vec<Batch>>>;

/// Takes the place of the scheduler and records the batches.
struct RecordingScheduler;

/// A replica that follows others.
struct TestFollower {
    received: Received,
    telemetry: Telemetry,
    members: watch::Sender<Members>,
    resync: watch::Sender<u64>,
    rotated: watch::Sender<u64>,
    following: Following,
    _living: watch::Sender<Option<ActorRef<Message>>>,
}

/// A replica that serves followers.
struct TestServer {
    address: SocketAddr,
    publisher: Publisher,
    telemetry: Telemetry,
    close: Option<oneshot::Sender<()>>,
    /// The members that may follow: every name that tests use.
    followers: watch::Sender<Members>,
    tasks: JoinSet<Result<(), ServeError>>,
    _living: watch::Sender<Option<ActorRef<Message>>>,
}

// === impl RecordingScheduler ===

impl Actor for RecordingScheduler {
    type Msg = Message;
    type State = Received;
    type Arguments = Received;

    async fn pre_start(&self, _: ActorRef<Message>, received: Received) -> Result<Received, ActorProcessingErr> {
        Ok(received)
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        received: &mut Received,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Batch(batch, taken) => {
                received.lock().unwrap().push(*batch);
                let _ = taken.send(());
            }
            Message::History(_, reply) => drop(reply.send(vec![(placement(), Duration::from_secs(2))])),
            _ => {}
        }
        Ok(())
    }
}

// === impl TestFollower ===

impl TestFollower {
    async fn follows(members: Members) -> Self {
        Self::follows_by(members, PeerTls::Plain).await
    }

    async fn follows_by(members: Members, tls: PeerTls) -> Self {
        let network: Arc<dyn Network> = Arc::new(Sockets);
        Self::follows_pool(&PoolId::default(), members, (network, Connections::new(1)), tls).await
    }

    /// The follower named `me`, which relays by `copies`.
    async fn relays(me: &Member, members: Members, copies: Copies) -> Self {
        let (network, connections): (Arc<dyn Network>, _) = (Arc::new(Sockets), Connections::new(1));
        Self::starts(me, &PoolId::default(), members, (network, connections, copies), PeerTls::Plain).await
    }

    async fn follows_pool(
        pool: &PoolId,
        members: Members,
        (network, connections): (Arc<dyn Network>, Connections),
        tls: PeerTls,
    ) -> Self {
        let me =
            Member { replica: ReplicaId("follower".into()), ..member(1, SocketAddr::from((Ipv4Addr::LOCALHOST, 1))) };
        Self::starts(&me, pool, members, (network, connections, Copies::default()), tls).await
    }

    async fn starts(
        me: &Member,
        pool: &PoolId,
        members: Members,
        (network, connections, copies): (Arc<dyn Network>, Connections, Copies),
        tls: PeerTls,
    ) -> Self {
        let (me, card) = (me.replica.clone(), me.card.clone());
        let received = Received::default();
        let (actor, _) = Actor::spawn(None, RecordingScheduler, received.clone()).await.unwrap();
        let (living, handle) = SchedulerHandle::unstarted(std::time::Duration::from_secs(5));
        living.send_replace(Some(actor));
        let telemetry = telemetry();
        let schedulers = std::iter::once((pool.clone(), handle));
        let receiver = Receiver::of_pools(me.clone(), schedulers, telemetry.clone()).only(pool.clone());
        let ((changes, members), (resync, resyncs)) = (watch::channel(members), watch::channel(0));
        let clock = Clock::start();
        let joins = Arc::new(Joining::is_over());
        let (rotated, rotates) = watch::channel(0);
        let readiness = Arc::new(watch::channel(crate::admin::Readiness::default()).0);
        let supervisor = crate::supervise::Supervisor::new(clock, telemetry.clone(), readiness);
        let following = follow(FollowContext {
            me,
            card,
            pool: pool.clone(),
            members,
            network,
            connections,
            copies,
            tls,
            receiver,
            resync: resyncs,
            rotated: rotates,
            clock,
            joins,
            supervisor,
        });
        Self { received, telemetry, members: changes, resync, rotated, following, _living: living }
    }

    fn batches(&self) -> Vec<Batch> {
        self.received.lock().unwrap().clone()
    }

    fn numbers(&self) -> Vec<u64> {
        self.batches().iter().flat_map(|batch| batch.facts.iter().map(|fact| fact.seq)).collect()
    }

    async fn received_up_to(&self, upto: u64) {
        eventually(|| self.batches().last().is_some_and(|batch| batch.upto >= upto)).await;
    }

    fn stream(&self) -> Option<StreamState> {
        self.following.states().borrow().get(&ReplicaId("b".into())).cloned()
    }

    fn is_down_because(&self, why: &str) -> bool {
        self.stream().is_some_and(|state| !state.connected && state.why.is_some_and(|is| is.contains(why)))
    }
}

impl Drop for TestFollower {
    fn drop(&mut self) {
        if let Some(actor) = self._living.borrow().as_ref() {
            actor.stop(None);
        }
    }
}

// === impl TestServer ===

impl TestServer {
    async fn starts(publisher: Publisher) -> Self {
        Self::starts_at(publisher, PeerTls::Plain, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    async fn starts_at(publisher: Publisher, tls: PeerTls, address: SocketAddr) -> Self {
        Self::starts_pools(vec![publisher], tls, address).await
    }

    /// A server of these publishers, one for each pool.
    async fn starts_pools(publishers: Vec<Publisher>, tls: PeerTls, address: SocketAddr) -> Self {
        Self::starts_with(publishers, Copies::default(), tls, address).await
    }

    async fn starts_with(publishers: Vec<Publisher>, copies: Copies, tls: PeerTls, address: SocketAddr) -> Self {
        let publisher = publishers[0].clone();
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let telemetry = telemetry();
        // It receives nothing, and has one placement.
        let (actor, _) = Actor::spawn(None, RecordingScheduler, Received::default()).await.unwrap();
        let (living, handle) = SchedulerHandle::unstarted(std::time::Duration::from_secs(1));
        living.send_replace(Some(actor));
        let receiver = Receiver::new(publisher.me(), handle, telemetry.clone());
        let (close, closed) = oneshot::channel();
        let mut tasks = JoinSet::new();
        let (followers, members) = watch::channel(followers());
        let serving = Serving { publishers, copies, receiver, members, rotated: watch::channel(0).0 };
        tasks.spawn(serve(listener.into(), tls, serving, async { drop(closed.await) }));
        Self { address, publisher, telemetry, close: Some(close), followers, tasks, _living: living }
    }

    async fn ends(mut self) -> SocketAddr {
        drop(self.close.take());
        self.tasks.join_next().await.unwrap().unwrap().unwrap();
        self.address
    }

    fn member(&self) -> Member {
        member(self.publisher.incarnation().0, self.address)
    }
}

fn followers() -> Members {
    let named = ["a", "follower", "late", "slow"].map(str::to_owned);
    let names = named.into_iter().chain((0..SUBSCRIBERS_MAX + 1).map(|n| format!("r{n}")));
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    names.map(|name| Member { replica: ReplicaId(name), ..member(1, nowhere) }).collect()
}

fn telemetry() -> Telemetry {
    Telemetry::new("pool", Tracer::default()).unwrap()
}

fn publisher(incarnation: u64) -> Publisher {
    Publisher::new(ReplicaId("b".into()), Incarnation(incarnation), Clock::start())
}

fn member(incarnation: u64, address: SocketAddr) -> Member {
    let ext_proc = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let card = ReplicaCard::new(ext_proc, Some(address), String::new());
    Member {
        replica: ReplicaId("b".into()),
        incarnation: Incarnation(incarnation),
        card,
        head: 0,
        heads: Default::default(),
    }
}

fn placement() -> Record {
    Record::Placement(Placement { endpoint: EndpointKey(1), anchors: (0..32).map(BlockHash).collect() })
}

fn publish_placements(publisher: &Publisher, times: usize) {
    publisher.publish((0..times).map(|_| (placement(), Timestamp::ZERO)));
}

fn publish_in_flight(publisher: &Publisher, endpoint: u64, requests: u32) {
    let record = Record::InFlight(InFlightReport { requests, ..InFlightReport::none(EndpointKey(endpoint)) });
    publisher.publish([(record, Timestamp::ZERO)]);
}

/// The sum of the series of the counter `name` that carry `label`.
fn counted(telemetry: &Telemetry, name: &str, label: &str) -> f64 {
    let page = telemetry.page();
    let lines = page.lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// The batches that were ignored for this reason.
fn ignored(telemetry: &Telemetry, reason: &str) -> f64 {
    counted(telemetry, "murmuration_peer_ignored_total", &format!("reason=\"{reason}\""))
}

/// Waits until `so` holds. The bound only ends a failing test.
async fn eventually(so: impl Fn() -> bool) {
    let waiting = async {
        while !so() {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), waiting).await.expect("it never became so");
}
