//! Chronicles made by hand, for the tests of promises.
//!
//! Must not know any promise. A tale begins with all replicas born at 0 s and the storm at 1 s.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use murmuration::event::{Decided, Event};
use murmuration::fleet::{Endpoint, InFlight, Trust};
use murmuration::id::{EndpointId, Incarnation, ReplicaId, Ticket};
use murmuration::prefix::PrefixMatch;
use murmuration::replication::PeerSummary;
use murmuration::request::Outcome;
use murmuration::scheduler::{Balance, BeliefDigest, EndpointSummary, FleetSummary};

use super::{Promise, Scene};
use crate::chronicle::{Entry, Fact, Look, Phase, Witness};
use crate::plan::{Fault, Plan, Strike, Town, Traffic};

/// A chronicle in the making.
pub(crate) struct Tale {
    pub(crate) plan: Plan,
    pub(crate) entries: Vec<Entry>,
    now: Duration,
}

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn engine(index: usize) -> EndpointId {
    EndpointId::new("town", &format!("engine-{index}"))
}

pub(crate) fn replica(index: usize) -> ReplicaId {
    ReplicaId(format!("replica-{index}"))
}

// === impl Tale ===

impl Tale {
    /// A town of three replicas and four engines in which `faults` happen.
    pub(crate) fn with(faults: Vec<Fault>) -> Self {
        let strike = |fault| Strike { at: Duration::ZERO, lasting: ms(1_000), fault };
        let plan = Plan {
            name: "tale".into(),
            seed: 0,
            duration: ms(60_000),
            town: Town::default(),
            traffic: Traffic::default(),
            faults: faults.into_iter().map(strike).collect(),
            bars: crate::plan::Bars::default(),
        };
        let mut tale = Self { plan, entries: Vec::new(), now: Duration::ZERO };
        (0..3).for_each(|index| tale.by(index, Fact::Born));
        tale.phase(1_000, Phase::Storm);
        tale
    }

    /// A town in which nothing goes wrong.
    pub(crate) fn calm() -> Self {
        Self::with(Vec::new())
    }

    /// Time goes on to this moment, in milliseconds.
    pub(crate) fn at(&mut self, at: u64) -> &mut Self {
        self.now = ms(at);
        self
    }

    pub(crate) fn phase(&mut self, at: u64, phase: Phase) -> &mut Self {
        self.at(at).world(Fact::Phase(phase));
        self
    }

    pub(crate) fn world(&mut self, fact: Fact) {
        self.push(Witness::World, fact);
    }

    pub(crate) fn client(&mut self, fact: Fact) {
        self.push(Witness::Client, fact);
    }

    /// What a replica witnesses in its first life.
    pub(crate) fn by(&mut self, replica: usize, fact: Fact) {
        self.push(Witness::Replica(replica, 0), fact);
    }

    pub(crate) fn told(&mut self, replica: usize, event: Event) {
        self.by(replica, Fact::Told(event));
    }

    pub(crate) fn look(&mut self, replica: usize, look: Look) {
        self.by(replica, Fact::Looked(Box::new(look)));
    }

    pub(crate) fn ask(&mut self, request: u64, replica: usize, attempt: u32) {
        self.client(Fact::Asked { request, replica, attempt, subset: Vec::new() });
    }

    pub(crate) fn sent(&mut self, request: u64, replica: usize, to: usize) {
        self.client(Fact::Sent { request, replica, to: Some(engine(to)) });
    }

    fn push(&mut self, by: Witness, fact: Fact) {
        self.entries.push(Entry { at: self.now, by, fact });
    }

    /// What `promise` says to it; the sentence where it is broken.
    pub(crate) fn judged(&self, mut promise: impl Promise) -> Result<(), String> {
        let mut scene = Scene::new(&self.plan);
        for entry in &self.entries {
            scene.see(entry);
            promise.see(entry, &scene).map_err(|broken| broken.0)?;
        }
        promise.end(&scene).map_err(|broken| broken.0)
    }

    /// Asserts that `promise` is broken with these words.
    #[track_caller]
    pub(crate) fn breaks(&self, promise: impl Promise, words: &str) {
        let sentence = self.judged(promise).unwrap_err();
        assert!(sentence.contains(words), "{sentence}");
    }
}

/// A replica of [`Tale`]'s town to which all is well: it sees all others, and all engines' fresh reports.
pub(crate) fn well(me: usize) -> Look {
    let others = || (0..3).filter(move |other| *other != me);
    Look {
        fleet: FleetSummary {
            endpoints: (0..4).map(endpoint).collect(),
            tickets: Balance::default(),
            index_bytes: 1_000,
            sessions: 0,
            peers: others().map(peer).collect(),
        },
        members: others().map(|other| (replica(other).0, 1)).collect(),
        ready: true,
        gossip: BTreeMap::from([("card".to_owned(), 200)]),
        digest: BeliefDigest { prefixes: 7, ..BeliefDigest::default() },
    }
}

fn endpoint(index: usize) -> EndpointSummary {
    EndpointSummary {
        endpoint: Endpoint {
            id: engine(index),
            address: format!("10.0.0.{index}:8000").parse().unwrap(),
            labels: BTreeMap::new(),
        },
        report: None,
        age: Some(ms(50)),
        trust: Trust::Exact,
        reachable: true,
        in_flight: InFlight::default(),
        foreign: InFlight::default(),
        unseen: 0,
        failing: None,
        index_blocks: 10,
    }
}

fn peer(index: usize) -> PeerSummary {
    PeerSummary {
        replica: replica(index),
        incarnation: Incarnation(1),
        quiet: ms(20),
        upto: 100,
        gaps: 0,
        facts: 100,
        ..PeerSummary::default()
    }
}

/// A decision for an engine.
pub(crate) fn decided(ticket: u64, to: usize) -> Event {
    Event::Decided(Box::new(Decided {
        ticket: Ticket(ticket),
        request_id: ticket.to_string(),
        model: String::new(),
        target_model: String::new(),
        fairness_id: String::new(),
        priority: 0,
        endpoint: engine(to),
        port: 8000,
        matched: PrefixMatch { blocks: 0, of: 10 },
        block_tokens: 16,
        candidates: 4,
    }))
}

/// The end of a ticket.
pub(crate) fn closed(ticket: u64) -> Event {
    Event::TicketClosed { ticket: Ticket(ticket), outcome: Outcome::Completed }
}

/// Open requests, as sums count them.
pub(crate) fn open(requests: u32) -> InFlight {
    InFlight { requests, ..InFlight::default() }
}
