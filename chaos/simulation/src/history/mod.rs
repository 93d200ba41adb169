//! The history of a simulated cluster: its facts in order, the only input of invariants.
//!
//! Must not know how facts come about, nor which are correct. A report prints one line per fact; two runs of one seed
//! print the same lines.

mod snapshot;

use std::time::Duration;

use murmuration::event::Event;
use murmuration::id::EndpointId;

use crate::plan::Place;
pub use snapshot::{Snapshot, Twin};

/// A fact, with its time and source.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Virtual time since the simulation began.
    pub at: Duration,
    /// The observer.
    pub by: Source,
    /// The fact.
    pub fact: Fact,
}

// === impl Entry ===

impl Entry {
    /// The snapshot that this entry records, and the number of its replica.
    pub fn snapshot(&self) -> Option<(usize, &Snapshot)> {
        match (&self.fact, self.by) {
            (Fact::SnapshotTaken(snapshot), Source::Replica(replica, _)) => Some((replica, snapshot)),
            _ => None,
        }
    }
}

/// The observer of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A replica, and the number of its start in this simulation, counted from 0.
    Replica(usize, u32),
    /// An engine.
    Engine(usize),
    /// The clients, including the gateway.
    Client,
    /// The environment: the simulation itself.
    Environment,
}

/// A kind of observation, with its data.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    // ---------- the environment ----------
    /// The phase changed.
    Phase(Phase),
    /// The fault with this index in the plan begins.
    FaultBegan(usize),
    /// The fault with this index in the plan ends.
    FaultEnded(usize),
    /// This replica or engine died, because a pair that it took part in was at the moment of a fault.
    PairStruck(Place),
    /// A replica was started.
    Started,
    /// A replica was killed, or has drained and stopped.
    Stopped,
    /// Discovery announced these endpoints to the observing replica.
    Announced(Vec<EndpointId>),
    /// The state of a replica at this time.
    SnapshotTaken(Box<Snapshot>),
    /// Code panicked, of any replica, whether or not the panic was caught.
    Panicked(String),

    // ---------- replicas ----------
    /// A replica emitted this event.
    Emitted(Event),

    // ---------- clients ----------
    /// The gateway sent a request to a replica.
    Asked {
        /// The request.
        request: u64,
        /// The replica.
        replica: usize,
        /// 0 for the first try.
        attempt: u32,
        /// The gateway's subset hint; empty for none.
        subset: Vec<EndpointId>,
    },
    /// A replica chose an endpoint.
    Sent {
        /// The request.
        request: u64,
        /// The replica.
        replica: usize,
        /// The chosen endpoint; `None` if no engine has the address.
        to: Option<EndpointId>,
    },
    /// A replica chose endpoints that may prefill for the one that it chose, the best first; `None` if no engine has the
    /// address.
    Paired {
        /// The request.
        request: u64,
        /// The replica.
        replica: usize,
        /// The endpoints.
        prefill: Vec<Option<EndpointId>>,
    },
    /// The legs of a pair were run, up to the decode engine's answer.
    LegsEnded {
        /// The request.
        request: u64,
        /// How.
        legs: Legs,
    },
    /// The client got a token that does not follow from its prompt; the first one of its answer.
    WrongAnswer {
        /// The request.
        request: u64,
        /// The endpoint that answered.
        by: EndpointId,
    },
    /// A replica refused the request.
    Refused {
        /// The request.
        request: u64,
        /// The replica.
        replica: usize,
        /// The status.
        status: u16,
        /// The stable refusal code.
        code: String,
    },
    /// The attempt ended without an answer: the replica could not be reached, broke off, or was too slow.
    Unanswered {
        /// The request.
        request: u64,
        /// The replica.
        replica: usize,
        /// Why.
        why: &'static str,
    },
    /// The request ended.
    Done {
        /// The request.
        request: u64,
        /// How it ended.
        end: End,
        /// The time from the request to the first token.
        first_token: Option<Duration>,
        /// Prompt tokens, and those of them that the engine really had in its cache (0 without a first token).
        prompt: (u64, u64),
    },
    /// The decisions of all running replicas on one request, which was not dispatched.
    Twins(Vec<Twin>),
}

/// Phases of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// All replicas and engines start.
    WarmUp,
    /// Faults may happen.
    Storm,
    /// All faults have ended; the cluster must recover.
    Recovery,
    /// The cluster must have recovered. Traffic continues for a while, then open requests end.
    Recovered,
    /// No traffic; no ticket may be open, and views must be equal.
    Quiesced,
}

/// How the legs of a pair ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Legs {
    /// The decode engine has the KV of another engine.
    Moved {
        /// The engine.
        from: usize,
    },
    /// The decode engine computes the prompt, for this reason.
    Computed(&'static str),
    /// The request fails, for this reason.
    Failed(&'static str),
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// Served completely.
    Served,
    /// Refused by the tier.
    Refused,
    /// No replica answered.
    Unanswered,
    /// The engine failed or could not be reached.
    EngineFailed,
    /// The client hung up, as the plan demands.
    Vanished,
    /// The response was cut, because its ext-proc stream broke.
    Cut,
}
