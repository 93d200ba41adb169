//! The gateway and its clients: an open load, whatever becomes of it, and a way to each replica that seems well.
//!
//! Must not know what is right. A request that a replica did not answer is tried at another one, as Envoy does; one that was refused is not.

mod chance;
mod visit;
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
use super::host::Host;
use super::net::{Net, Places};
use super::prompt::{Conversations, Prompt};
use super::replica::EXT_PROC;
use super::scribe::Scribe;
use super::weather::Surge;
use crate::plan::Plan;
use visit::Visit;

/// Probes in a row that a replica must miss to be left alone.
const PROBES: u32 = 2;

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

/// What all requests share.
struct Shared {
    scribe: Scribe,
    net: Net,
    places: Places,
    ways: Vec<Channel>,
    engines: Vec<Engine>,
    directory: Directory,
    turn: Mutex<Turn>,
    open: AtomicUsize,
}

/// Whose turn it is.
struct Turn {
    well: Vec<bool>,
    next: usize,
}

// === impl Gateway ===

impl Gateway {
    /// The gateway of a plan's town.
    ///
    /// # Errors
    /// When there is no runtime to be had.
    pub(super) fn new(
        plan: &Plan,
        net: &Net,
        scribe: &Scribe,
        engines: Vec<Engine>,
        directory: &Directory,
    ) -> io::Result<Self> {
        let host = Host::new()?;
        let places = Places::new(&plan.town);
        let runtime = host.enter();
        let to = |replica| SocketAddr::new(places.ip(places.replica(replica)), EXT_PROC);
        let ways = (0..plan.town.replicas).map(|replica| way::to(net.at(places.gateway()), to(replica))).collect();
        drop(runtime);
        let turn = Mutex::new(Turn { well: vec![false; plan.town.replicas], next: 0 });
        let (scribe, net, open) = (scribe.clone(), net.clone(), AtomicUsize::new(0));
        let directory = directory.clone();
        Ok(Self {
            host,
            shared: Arc::new(Shared { scribe, net, places, ways, engines, directory, turn, open }),
            chance: chance::of(plan.seed),
            conversations: Conversations::new(plan.traffic.conversations, plan.traffic.prompt_bytes),
            plan: plan.clone(),
            next_at: None,
            requests: 0,
            missed: vec![0; plan.town.replicas],
        })
    }

    /// The machine that the gateway and the engines are on.
    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    /// Takes note of which replicas say that they are ready; a silent one is left alone after a while.
    pub(super) fn probed(&mut self, ready: &[Option<bool>]) {
        let mut turn = self.shared.turn.lock().unwrap_or_else(PoisonError::into_inner);
        for ((missed, well), ready) in self.missed.iter_mut().zip(&mut turn.well).zip(ready) {
            match ready {
                Some(ready) => (*missed, *well) = (0, *ready),
                None => {
                    *missed += 1;
                    *well = *well && *missed < PROBES;
                }
            }
        }
    }

    /// Lets it run for one tick, with the requests that come in it where there is `traffic`.
    pub(super) fn tick(&mut self, tick: Duration, traffic: Option<Surge>) {
        let now = self.shared.scribe.now();
        match traffic {
            None => self.next_at = None,
            Some(surge) => {
                let mut at = self.next_at.unwrap_or(now);
                while at <= now {
                    self.visit(surge);
                    at += chance::gap(&mut self.chance, self.plan.traffic.rate * surge.factor);
                }
                self.next_at = Some(at);
            }
        }
        self.host.tick(tick);
    }

    /// Requests that are not over.
    pub(super) fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// What a conversation would ask next.
    pub(super) fn prompt(&self, conversation: usize) -> Prompt {
        self.conversations.prompt(conversation)
    }

    fn visit(&mut self, surge: Surge) {
        self.requests += 1;
        let (chance, traffic) = (&mut self.chance, &self.plan.traffic);
        let which = chance.unit();
        let hot = chance.unit() < surge.hot;
        let extra = if chance.unit() < surge.large.0 { surge.large.1 } else { 0 };
        let streamed = chance.unit() < traffic.streamed;
        let vanishes = chance.unit() < surge.vanish;
        let subset = if chance.unit() < traffic.subset { chance::some(chance, self.plan.town.engines) } else { vec![] };
        let prompt = Prompt { hot, extra, ..self.conversations.next(which) };
        let number = self.requests;
        let visit = Visit { number, prompt, tokens: traffic.answer_tokens, streamed, vanishes, subset };
        let shared = self.shared.clone();
        shared.open.fetch_add(1, Ordering::Relaxed);
        self.host.spawn(async move {
            visit.run(&shared).await;
            shared.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

// === impl Shared ===

impl Shared {
    /// The replica whose turn it is, other than those that were `tried`; any of the well, or else just any.
    fn next(&self, tried: &[usize]) -> usize {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let count = turn.well.len();
        let order: Vec<usize> = (0..count).map(|i| (turn.next + i) % count).collect();
        let fresh = order.iter().copied().filter(|replica| !tried.contains(replica));
        let well = fresh.clone().find(|replica| turn.well[*replica]);
        let next = well.or_else(|| fresh.clone().next()).unwrap_or(order[0]);
        turn.next = next + 1;
        next
    }

    /// Whether the gateway and an engine can hear each other.
    fn reaches(&self, engine: usize) -> bool {
        let (here, there) = (self.places.gateway(), self.places.engine(engine));
        self.net.open(here, there) && self.net.open(there, here)
    }
}
