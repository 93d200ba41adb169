//! The inputs of a scheduler, and what it outputs.
//!
//! Must not know who sends an input or how an answer is delivered.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::event::Event;
use crate::fleet::{EndpointChange, Observation};
use crate::id::{EndpointId, Incarnation, ReplicaId, Ticket};
use crate::replication::{Batch, Record};
use crate::request::{Asked, Outcome, Refusal};
use crate::schedule::Decision;
use crate::time::Timestamp;

/// One input: something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Endpoints that discovery added, changed or removed.
    Discovered(Vec<EndpointChange>),
    /// All objectives that discovery found, by name, with their priorities. Replaces the earlier set.
    Objectives(BTreeMap<String, i32>),
    /// An engine's report, scraped by this replica.
    Observed(EndpointId, Observation),
    /// An engine's listener could not be reached.
    Unreachable(EndpointId),
    /// A batch of a peer's facts, from either lane.
    Batch(Box<Batch>),
    /// This incarnation of a peer is lost.
    PeerLost(ReplicaId, Incarnation),
    /// A stream requests a decision.
    Asked(Asked),
    /// A stream reports on its ticket.
    TicketUpdate(Ticket, News),
    /// Periodic tick: expires leases, sessions and peers' facts, and reports changes of trust and
    /// which endpoints began or stopped failing.
    Tick,
}

/// What a stream reports on its ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The address that served the request, as Envoy reports it.
    Served(SocketAddr),
    /// The answer's first token was seen.
    FirstToken,
    /// The stream is over.
    Finished(Outcome),
}

/// What the caller must do after an input.
#[derive(Debug, Default)]
pub struct Outbox {
    /// One answer for each [`Input::Asked`].
    pub answers: Vec<(Ticket, Result<Arc<Decision>, Refusal>)>,
    /// Records for peers, each with the time since when it holds. Empty if nothing is replicated.
    pub publish: Vec<(Record, Timestamp)>,
    /// Events for telemetry.
    pub events: Vec<Event>,
}
