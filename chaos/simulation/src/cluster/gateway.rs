//! The gateway and its clients: an open-loop load, and a channel to each replica.
//!
//! Must not know which behaviour is correct. A request that a replica did not answer is retried at another replica, as
//! Envoy does. A refused request is not retried.

mod attempt;
mod chance;
mod legs;
mod pairs;
mod transfer;
mod verified;
mod way;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use murmuration::chance::Chance;
use tonic::transport::Channel;

use super::directory::Directory;
use super::engine::Engine;
use super::fault_state::{TrafficFaults, TransferFaults};
use super::host::Host;
use super::net::{Net, Places};
use super::prompt::{Conversations, Prompt};
use super::recorder::Recorder;
use super::replica::EXT_PROC;
use crate::plan::{ClusterSpec, Plan};
use attempt::ClientRequest;
pub(super) use pairs::{Pair, Pairs};

/// Missed probes in a row after which a replica counts as not ready.
const PROBES_MISSED_MAX: u32 = 2;

/// The gateway.
pub(super) struct Gateway {
    host: Host,
    shared: Arc<Shared>,
    chance: Chance,
    conversations: Conversations,
    plan: Plan,
    next_at: Option<Duration>,
    requests: u64,
    missed: Vec<u32>,
}

/// State that all requests share.
struct Shared {
    recorder: Recorder,
    net: Net,
    places: Places,
    ways: Vec<Channel>,
    engines: Vec<Engine>,
    directory: Directory,
    turn: Mutex<Turn>,
    open: AtomicUsize,
    cluster: ClusterSpec,
    /// Pairs whose legs are run.
    pairs: Pairs,
    /// What goes wrong with KV on its way.
    transfers: Mutex<Option<TransferFaults>>,
}

/// State of the round robin over replicas.
struct Turn {
    ready: Vec<bool>,
    next: usize,
}

// === impl Gateway ===

impl Gateway {
    /// The gateway of a plan's cluster.
    ///
    /// # Errors
    /// If no runtime can be created.
    pub(super) fn new(
        plan: &Plan,
        net: &Net,
        recorder: &Recorder,
        engines: Vec<Engine>,
        directory: &Directory,
    ) -> io::Result<Self> {
        let host = Host::new()?;
        let places = Places::new(&plan.cluster);
        let runtime = host.enter();
        let to = |replica| SocketAddr::new(places.ip(places.replica(replica)), EXT_PROC);
        let ways = (0..plan.cluster.replicas).map(|replica| way::to(net.at(places.gateway()), to(replica))).collect();
        drop(runtime);
        let turn = Mutex::new(Turn { ready: vec![false; plan.cluster.replicas], next: 0 });
        let (recorder, net, open) = (recorder.clone(), net.clone(), AtomicUsize::new(0));
        let directory = directory.clone();
        Ok(Self {
            host,
            shared: Arc::new(Shared {
                recorder,
                net,
                places,
                ways,
                engines,
                directory,
                turn,
                open,
                cluster: plan.cluster.clone(),
                pairs: Pairs::default(),
                transfers: Mutex::default(),
            }),
            chance: chance::of(plan.seed),
            conversations: Conversations::new(plan.traffic.conversations, plan.traffic.prompt_bytes),
            plan: plan.clone(),
            next_at: None,
            requests: 0,
            missed: vec![0; plan.cluster.replicas],
        })
    }

    /// The host that the gateway and the engines run on.
    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    /// Records the answers to one round of probes. A replica that misses [`PROBES_MISSED_MAX`] in a row is not ready.
    pub(super) fn probed(&mut self, ready: &[Option<bool>]) {
        let mut turn = self.shared.turn.lock().unwrap_or_else(PoisonError::into_inner);
        for ((missed, ready), answer) in self.missed.iter_mut().zip(&mut turn.ready).zip(ready) {
            match answer {
                Some(answer) => (*missed, *ready) = (0, *answer),
                None => {
                    *missed += 1;
                    *ready = *ready && *missed < PROBES_MISSED_MAX;
                }
            }
        }
    }

    /// Runs the host for one tick. With `traffic`, starts the requests that are due.
    pub(super) fn tick(&mut self, tick: Duration, traffic: Option<TrafficFaults>) {
        let now = self.shared.recorder.now();
        match traffic {
            None => self.next_at = None,
            Some(surge) => {
                let mut at = self.next_at.unwrap_or(now);
                while at <= now {
                    self.start_request(surge);
                    at += chance::gap(&mut self.chance, self.plan.traffic.rate * surge.factor);
                }
                self.next_at = Some(at);
            }
        }
        self.host.tick(tick);
    }

    /// Open requests.
    pub(super) fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Applies what goes wrong with KV on its way.
    pub(super) fn set_transfers(&self, faults: Option<TransferFaults>) {
        *self.shared.transfers.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    /// Pairs whose legs are run.
    pub(super) fn pairs(&self) -> &Pairs {
        &self.shared.pairs
    }

    /// The next prompt of a conversation.
    pub(super) fn prompt(&self, conversation: usize) -> Prompt {
        self.conversations.prompt(conversation)
    }

    fn start_request(&mut self, surge: TrafficFaults) {
        self.requests += 1;
        let (chance, traffic) = (&mut self.chance, &self.plan.traffic);
        let which = chance.unit();
        let hot = chance.unit() < surge.hot;
        let extra = if chance.unit() < surge.large.0 { surge.large.1 } else { 0 };
        let streamed = chance.unit() < traffic.streamed;
        let vanishes = chance.unit() < surge.vanish;
        let cluster = &self.plan.cluster;
        let mut subset = if chance.unit() < traffic.subset { chance::some(chance, cluster.engines) } else { vec![] };
        // A subset has an engine that answers.
        if subset.iter().all(|engine| cluster.prefills(*engine)) && !subset.is_empty() {
            subset.push(cluster.engines - 1);
        }
        let prompt = Prompt { hot, extra, ..self.conversations.next(which) };
        let number = self.requests;
        let attempt = ClientRequest { number, prompt, tokens: traffic.answer_tokens, streamed, vanishes, subset };
        let shared = self.shared.clone();
        shared.open.fetch_add(1, Ordering::Relaxed);
        self.host.spawn(async move {
            attempt.run(&shared).await;
            shared.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

// === impl Shared ===

impl Shared {
    /// The next replica in turn that was not `tried`: preferably a ready one, else any.
    fn next(&self, tried: &[usize]) -> usize {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let count = turn.ready.len();
        let order: Vec<usize> = (0..count).map(|i| (turn.next + i) % count).collect();
        let fresh = order.iter().copied().filter(|replica| !tried.contains(replica));
        let ready = fresh.clone().find(|replica| turn.ready[*replica]);
        let next = ready.or_else(|| fresh.clone().next()).unwrap_or(order[0]);
        turn.next = next + 1;
        next
    }

    /// Whether the gateway and an engine reach each other, in both directions.
    fn reaches(&self, engine: usize) -> bool {
        let (here, there) = (self.places.gateway(), self.places.engine(engine));
        self.net.open(here, there) && self.net.open(there, here)
    }

    /// Whether two engines reach each other, in both directions.
    fn engines_meet(&self, one: usize, other: usize) -> bool {
        let (one, other) = (self.places.engine(one), self.places.engine(other));
        self.net.open(one, other) && self.net.open(other, one)
    }

    /// The engine at this address. One that has moved does not answer at its former address.
    fn engine_at(&self, address: SocketAddr) -> Option<usize> {
        self.directory.at(address).filter(|engine| self.directory.address(*engine) == address)
    }
}
