//! A replica with what gossip needs: a publisher, a receiver, and a scheduler that only collects batches.

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use murmuration::fleet::LoadReport;
use murmuration::id::{BlockHash, EndpointKey, Incarnation, ReplicaId};
use murmuration::replication::{Batch, EndpointLoad, InFlightReport, Member, Placement, Record, ReplicaCard, codec};
use murmuration::time::Timestamp;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::clock::Clock;
use crate::environment::datagrams;
use crate::gossip::{Gossip, GossipError, GossipSettings, Seal};
use crate::replication::{Publisher, Receiver};
use crate::scheduler::{Message, SchedulerHandle};
use crate::telemetry::Telemetry;
use crate::telemetry::span::Tracer;

/// How long a test waits for anything; far longer than it takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A replica that gossips.
pub(super) struct Node {
    pub(super) gossip: Gossip,
    pub(super) publisher: Publisher,
    telemetry: Telemetry,
    received: mpsc::UnboundedReceiver<Batch>,
    _collector: StopOnDrop,
    _living: watch::Sender<Option<ActorRef<Message>>>,
}

/// How to start one.
pub(super) struct Plan {
    name: String,
    incarnation: u64,
    seeds: Vec<String>,
    seal: Seal,
    interval: Duration,
    accept_version_one: bool,
    card: ReplicaCard,
}

/// A file of keys.
pub(super) struct Keys(PathBuf);

/// Stops its actor when dropped.
struct StopOnDrop(ActorRef<Message>);

/// Receives batches in place of a scheduler.
struct Collector;

pub(super) fn share(endpoint: u64, requests: u32) -> (Record, Timestamp) {
    let share = InFlightReport { requests, ..InFlightReport::none(EndpointKey(endpoint)) };
    (Record::InFlight(share), Timestamp::ZERO)
}

pub(super) fn load(endpoint: u64) -> (Record, Timestamp) {
    let report = LoadReport { waiting: endpoint as u32, kv_usage: 1.0 / endpoint as f64, ..LoadReport::default() };
    (Record::Load(EndpointLoad { endpoint: EndpointKey(endpoint), report }), Timestamp::ZERO)
}

pub(super) fn placement(seed: u64) -> (Record, Timestamp) {
    let anchors = (0..8).map(|at| BlockHash((seed ^ at).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24)).collect();
    (Record::Placement(Placement { endpoint: EndpointKey(seed), anchors }), Timestamp::ZERO)
}

/// Waits until `it` is true.
pub(super) async fn until(what: &str, it: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !it() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

// === impl Plan ===

impl Plan {
    pub(super) fn new(name: &str) -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
        let card = ReplicaCard::new(nowhere, None, format!("zone-of-{name}"));
        let interval = Duration::from_millis(20);
        let (name, seeds, seal) = (name.to_owned(), Vec::new(), Seal::Insecure);
        Self { name, incarnation: 1, seeds, seal, interval, accept_version_one: false, card }
    }

    pub(super) fn incarnation(self, incarnation: u64) -> Self {
        Self { incarnation, ..self }
    }

    pub(super) fn interval(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }

    pub(super) fn accepts_version_one(self) -> Self {
        Self { accept_version_one: true, ..self }
    }

    pub(super) fn seed(self, node: &Node) -> Self {
        self.seed_at(node.address())
    }

    pub(super) fn seed_at(self, address: SocketAddr) -> Self {
        Self { seeds: vec![address.to_string()], ..self }
    }

    pub(super) fn also_seed(mut self, node: &Node) -> Self {
        self.seeds.push(node.address().to_string());
        self
    }

    pub(super) fn seed_named(self, name: String) -> Self {
        Self { seeds: vec![name], ..self }
    }

    pub(super) fn keys(self, keys: &Keys) -> Self {
        Self { seal: Seal::KeyFile(keys.0.clone()), ..self }
    }

    pub(super) fn card(mut self, change: impl FnOnce(&mut ReplicaCard)) -> Self {
        change(&mut self.card);
        self
    }

    pub(super) async fn try_start(self) -> Result<Node, GossipError> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let advertise = socket.local_addr().unwrap();
        let (me, incarnation) = (ReplicaId(self.name), Incarnation(self.incarnation));
        let telemetry = Telemetry::new("pool", Tracer::default()).unwrap();
        let version = self.card.wire.1.min(codec::VERSION);
        let publisher = Publisher::new(me.clone(), incarnation, Clock::start()).upto(version);
        let (sender, received) = mpsc::unbounded_channel();
        let (collector, _) = Actor::spawn(None, Collector, sender).await.unwrap();
        let (living, scheduler) = SchedulerHandle::unstarted(PATIENCE);
        living.send_replace(Some(collector.clone()));
        let receiver = Receiver::new(me.clone(), scheduler, telemetry.clone()).upto(version);
        let (tier, card, interval, seal) = ("tier".to_owned(), self.card, self.interval, self.seal);
        let (seeds, accept_version_one) = (self.seeds, self.accept_version_one);
        let socket = datagrams(socket).unwrap();
        let settings = GossipSettings {
            me,
            incarnation,
            socket,
            advertise,
            seeds,
            found: None,
            tier,
            interval,
            seal,
            accept_version_one,
            card,
        };
        let gossip = Gossip::start(settings, vec![publisher.clone()], receiver).await?;
        Ok(Node { gossip, publisher, telemetry, received, _collector: StopOnDrop(collector), _living: living })
    }
}

// === impl Node ===

impl Node {
    pub(super) async fn start(plan: Plan) -> Self {
        plan.try_start().await.expect("it starts")
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.gossip.address()
    }

    pub(super) fn members(&self) -> Vec<Member> {
        self.gossip.members().borrow().clone()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.members().into_iter().map(|member| member.replica.0).collect()
    }

    pub(super) fn incarnation(&self) -> u64 {
        self.gossip.incarnation().borrow().0
    }

    pub(super) fn lives(&self) -> Vec<(String, u64)> {
        self.members().into_iter().map(|member| (member.replica.0, member.incarnation.0)).collect()
    }

    /// The next batch that holds a fact.
    pub(super) async fn next_fact(&mut self) -> Batch {
        loop {
            let batch = timeout(PATIENCE, self.received.recv()).await.expect("a batch").expect("a collector");
            if !batch.facts.is_empty() {
                return batch;
            }
        }
    }

    /// The sum of a family's metrics that have `label`.
    pub(super) fn counted(&self, family: &str, label: &str) -> f64 {
        let page = self.telemetry.page();
        let lines = page.lines().filter(|line| line.starts_with(family) && line.contains(label));
        lines.filter_map(|line| line.rsplit(' ').next()).map(|value| value.parse::<f64>().unwrap()).sum()
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop(None);
    }
}

// === impl Keys ===

impl Keys {
    pub(super) fn new(name: &str, lines: &[u8]) -> Self {
        let keys = Self(std::env::temp_dir().join(format!("murmuration-gossip-{}-{name}", std::process::id())));
        keys.write(lines);
        keys
    }

    pub(super) fn write(&self, lines: &[u8]) {
        self.write_text(&lines.iter().map(|byte| STANDARD.encode([*byte; 32]) + "\n").collect::<String>());
    }

    pub(super) fn text(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap()
    }

    pub(super) fn write_text(&self, text: &str) {
        let other = self.0.with_extension("new");
        std::fs::write(&other, text).unwrap();
        std::fs::rename(&other, &self.0).unwrap();
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

// === impl Collector ===

impl Actor for Collector {
    type Msg = Message;
    type State = mpsc::UnboundedSender<Batch>;
    type Arguments = mpsc::UnboundedSender<Batch>;

    async fn pre_start(
        &self,
        _: ActorRef<Message>,
        sender: mpsc::UnboundedSender<Batch>,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(sender)
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        sender: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if let Message::Batch(batch, taken) = message {
            drop(sender.send(*batch));
            drop(taken.send(()));
        }
        Ok(())
    }
}
