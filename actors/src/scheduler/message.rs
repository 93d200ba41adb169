//! The letters that the scheduler actor takes.
//!
//! Must not know what is done with them.

use std::sync::Arc;
use std::time::Duration;

use murmuration::fleet::Observation;
use murmuration::id::{EndpointId, Incarnation, ReplicaId, Ticket};
use murmuration::replication::{Batch, Record};
use murmuration::request::{InferenceRequest, Refusal};
use murmuration::schedule::Decision;
use murmuration::scheduler::{BeliefDigest, FleetSummary, News};
use murmuration::time::Timestamp;
use ractor::RpcReplyPort;

use crate::latest_value::Notice;
use crate::scheduler::Reservation;

/// What an endpoint actor reports.
#[derive(Clone, Debug)]
pub enum Report {
    /// The engine's own report.
    Load(Observation),
    /// Its listener could not be reached.
    Unreachable,
}

/// The answer to a request.
pub(super) type Answer = Result<(Reservation, Arc<Decision>), Refusal>;

/// A message.
#[derive(Debug)]
pub enum Message {
    // ---------- from streams ----------
    /// Requests wait for their decision.
    Asks,
    /// Tells of a ticket.
    TicketUpdate(Ticket, News),

    // ---------- from endpoint actors ----------
    /// A report is ready to be collected, with the moment when it was made.
    Collect(EndpointId, Notice<(Report, Timestamp)>),

    // ---------- from the pool ----------
    /// The announcement of endpoints and objectives is another one.
    Announced,

    // ---------- from peers ----------
    /// A peer's facts, and whom to tell that they were taken in.
    Batch(Box<Batch>, RpcReplyPort<()>),
    /// A peer is gone, in this life of it.
    PeerLost(ReplicaId, Incarnation),

    /// Where prefixes are believed to be, and sessions bound, each since so long; at most this many of each.
    History(usize, RpcReplyPort<Vec<(Record, Duration)>>),

    // ---------- from itself ----------
    /// Time passed.
    Tick,

    // ---------- from whoever compares replicas ----------
    /// What a request would be answered, with nothing reserved.
    Consider(Box<InferenceRequest>, RpcReplyPort<Result<Decision, Refusal>>),
    /// What is believed, as numbers that are equal where beliefs are.
    Digest(RpcReplyPort<BeliefDigest>),

    // ---------- from the admin page ----------
    /// The pool at a glance.
    Summary(RpcReplyPort<FleetSummary>),
    /// The decision for a request, by its `x-request-id`.
    Explain(String, RpcReplyPort<Option<Arc<Decision>>>),
    /// The last decisions, youngest first, at most this many.
    Recent(usize, RpcReplyPort<Vec<Arc<Decision>>>),
}
