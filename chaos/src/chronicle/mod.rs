//! What happened to a simulated town, in order: the only thing that promises are judged by.
//!
//! Must not know how it came about, nor what should have happened. One line a fact; two runs of one seed write the same lines.

mod look;

use std::time::Duration;

use murmuration::event::Event;
use murmuration::id::EndpointId;

pub use look::{Look, Twin};

/// Something that happened, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Virtual time since the simulation began.
    pub at: Duration,
    /// Who saw it.
    pub by: Witness,
    /// What.
    pub fact: Fact,
}

/// Who sees things happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Witness {
    /// A replica, in its n-th life in this simulation (from 0).
    Replica(usize, u32),
    /// An engine.
    Engine(usize),
    /// The clients, who stand for the gateway.
    Client,
    /// Whoever runs the simulation.
    World,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    // ---------- the world ----------
    /// The phase changed.
    Phase(Phase),
    /// The fault with this index in the plan begins.
    Struck(usize),
    /// It is over.
    Lifted(usize),
    /// A replica was started.
    Born,
    /// A replica is dead, or has left.
    Gone,
    /// Discovery announced these endpoints, to the replica that witnesses it.
    Announced(Vec<EndpointId>),
    /// A replica as it was at this moment.
    Looked(Box<Look>),
    /// Code panicked, of whichever replica; whether or not somebody caught it.
    Panicked(String),

    // ---------- replicas ----------
    /// What a replica told.
    Told(Event),

    // ---------- clients ----------
    /// A client asked a replica: the request's number, and how often it was tried before.
    Asked {
        /// The request.
        request: u64,
        /// Whom.
        replica: usize,
        /// 0 for the first try.
        attempt: u32,
        /// The gateway's subset hint; empty for none.
        subset: Vec<EndpointId>,
    },
    /// A replica answered with an endpoint.
    Sent {
        /// The request.
        request: u64,
        /// Which replica.
        replica: usize,
        /// Where the request goes; `None` when the address is nobody's.
        to: Option<EndpointId>,
    },
    /// A replica answered with a refusal.
    Refused {
        /// The request.
        request: u64,
        /// Which replica.
        replica: usize,
        /// The status.
        status: u16,
        /// The stable code.
        code: String,
    },
    /// The try is over without an answer: the replica is not there, broke off, or was too slow.
    Unanswered {
        /// The request.
        request: u64,
        /// Which replica.
        replica: usize,
        /// Why.
        why: &'static str,
    },
    /// The request is over.
    Done {
        /// The request.
        request: u64,
        /// How.
        end: End,
        /// From asking to the first token.
        first_token: Option<Duration>,
        /// Prompt tokens, and those of them that the engine really had in its cache; of those that were served.
        prompt: (u64, u64),
    },
    /// One request, asked of every living replica without dispatching it.
    Twins(Vec<Twin>),
}

/// Phases of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Everybody starts.
    Warming,
    /// Faults may happen.
    Storm,
    /// Faults are over; all must become well.
    Healing,
    /// All must be well: one more stretch of traffic, and then the last looks.
    Healed,
    /// No traffic; all books must be closed.
    Rest,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// Served, whole.
    Served,
    /// Refused by the tier.
    Refused,
    /// No replica answered.
    Unanswered,
    /// The engine failed or was gone.
    EngineFailed,
    /// The client hung up, as the plan wanted.
    Vanished,
    /// The answer was cut because the replica that watched it died (`stay`).
    Cut,
}
