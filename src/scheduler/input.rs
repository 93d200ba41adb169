//! Everything that can happen to a scheduler, and everything that can come of it.
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

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Discovery says which endpoints came, changed or went.
    Discovered(Vec<EndpointChange>),
    /// Discovery says which objectives there are, by name, and their priorities. Replaces what was said before.
    Objectives(BTreeMap<String, i32>),
    /// An engine's report.
    Observed(EndpointId, Observation),
    /// An engine's listener could not be reached.
    Unreachable(EndpointId),
    /// A peer's facts came, by whichever lane.
    Batch(Box<Batch>),
    /// A peer is gone, in this life of it.
    PeerLost(ReplicaId, Incarnation),
    /// A stream asks for endpoints.
    Asked(Asked),
    /// A stream tells of its ticket.
    TicketUpdate(Ticket, News),
    /// Time passed: leases and trusts are looked at.
    Tick,
}

/// What a stream tells of its ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Envoy says which address served.
    Served(SocketAddr),
    /// The answer's first token was seen.
    FirstToken,
    /// The stream is over.
    Finished(Outcome),
}

/// What is to be done.
#[derive(Debug, Default)]
pub struct Outbox {
    /// One answer for each request that was asked.
    pub answers: Vec<(Ticket, Result<Arc<Decision>, Refusal>)>,
    /// What peers should know, and since when it is so. Empty where nothing is shared.
    pub publish: Vec<(Record, Timestamp)>,
    /// What is to be told.
    pub events: Vec<Event>,
}
