//! Histories written by hand, for the tests of invariants.
//!
//! Must not know any invariant. A history begins with the start of all replicas at 0 s and the storm at 1 s.
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

use super::{Invariant, Scene};
use crate::history::{Entry, Fact, Phase, Snapshot, Source};
use crate::plan::{ClusterSpec, Fault, Plan, ScheduledFault, Traffic};

/// Builds a history entry by entry.
pub(crate) struct HistoryBuilder {
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

// === impl HistoryBuilder ===

impl HistoryBuilder {
    /// A cluster of three replicas and four engines in which `faults` happen.
    pub(crate) fn with(faults: Vec<Fault>) -> Self {
        let strike = |fault| ScheduledFault { at: Duration::ZERO, lasting: ms(1_000), fault };
        let plan = Plan {
            name: "history".into(),
            seed: 0,
            duration: ms(60_000),
            cluster: ClusterSpec::default(),
            traffic: Traffic::default(),
            faults: faults.into_iter().map(strike).collect(),
            bars: crate::plan::Bars::default(),
        };
        let mut history = Self { plan, entries: Vec::new(), now: Duration::ZERO };
        (0..3).for_each(|index| history.by(index, Fact::Started));
        history.phase(1_000, Phase::Storm);
        history
    }

    /// A cluster without faults.
    pub(crate) fn calm() -> Self {
        Self::with(Vec::new())
    }

    /// Sets the time of the next entries, in milliseconds.
    pub(crate) fn at(&mut self, at: u64) -> &mut Self {
        self.now = ms(at);
        self
    }

    pub(crate) fn phase(&mut self, at: u64, phase: Phase) -> &mut Self {
        self.at(at).world(Fact::Phase(phase));
        self
    }

    pub(crate) fn world(&mut self, fact: Fact) {
        self.push(Source::Environment, fact);
    }

    pub(crate) fn client(&mut self, fact: Fact) {
        self.push(Source::Client, fact);
    }

    /// Adds a fact seen by a replica after its first start.
    pub(crate) fn by(&mut self, replica: usize, fact: Fact) {
        self.push(Source::Replica(replica, 0), fact);
    }

    /// Adds the second start of a replica.
    pub(crate) fn started_again(&mut self, replica: usize) {
        self.push(Source::Replica(replica, 1), Fact::Started);
    }

    pub(crate) fn told(&mut self, replica: usize, event: Event) {
        self.by(replica, Fact::Emitted(event));
    }

    pub(crate) fn snapshot(&mut self, replica: usize, snapshot: Snapshot) {
        self.by(replica, Fact::SnapshotTaken(Box::new(snapshot)));
    }

    /// Adds a snapshot of a healthy replica after `change`.
    pub(crate) fn sees(&mut self, replica: usize, change: impl FnOnce(&mut Snapshot)) {
        let mut snapshot = well(replica);
        change(&mut snapshot);
        self.snapshot(replica, snapshot);
    }

    pub(crate) fn ask(&mut self, request: u64, replica: usize, attempt: u32) {
        self.client(Fact::Asked { request, replica, attempt, subset: Vec::new() });
    }

    pub(crate) fn sent(&mut self, request: u64, replica: usize, to: usize) {
        self.client(Fact::Sent { request, replica, to: Some(engine(to)) });
    }

    fn push(&mut self, by: Source, fact: Fact) {
        self.entries.push(Entry { at: self.now, by, fact });
    }

    /// Judges the history by `invariant`; the error is the sentence of the violation.
    pub(crate) fn check(&self, mut invariant: impl Invariant) -> Result<(), String> {
        let mut scene = Scene::new(&self.plan);
        for entry in &self.entries {
            scene.see(entry);
            invariant.see(entry, &scene).map_err(|broken| broken.0)?;
        }
        invariant.end(&scene).map_err(|broken| broken.0)
    }

    /// Asserts that `invariant` is broken and its sentence contains `words`.
    #[track_caller]
    pub(crate) fn breaks(&self, invariant: impl Invariant, words: &str) {
        let sentence = self.check(invariant).unwrap_err();
        assert!(sentence.contains(words), "{sentence}");
    }
}

/// A snapshot of a healthy replica in the cluster of a [`HistoryBuilder`]: it sees all others and has recent reports of
/// all engines.
pub(crate) fn well(me: usize) -> Snapshot {
    let others = || (0..3).filter(move |other| *other != me);
    Snapshot {
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
        rewritten_by: None,
        fairness_id: String::new(),
        priority: 0,
        endpoint: engine(to),
        port: 8000,
        matched: PrefixMatch { blocks: 0, of: 10 },
        block_tokens: 16,
        candidates: 4,
        split: None,
    }))
}

/// The end of a ticket.
pub(crate) fn closed(ticket: u64) -> Event {
    Event::TicketClosed { ticket: Ticket(ticket), outcome: Outcome::Completed }
}

/// `requests` open requests.
pub(crate) fn open(requests: u32) -> InFlight {
    InFlight { requests, ..InFlight::default() }
}
