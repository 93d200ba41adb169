//! The messages of the scheduler actor.
//!
//! Must not know how they are handled.

use std::sync::Arc;
use std::time::Duration;

use murmuration::fleet::Observation;
use murmuration::id::{EndpointId, Incarnation, ReplicaId};
use murmuration::replication::{Batch, Record};
use murmuration::request::{InferenceRequest, Refusal};
use murmuration::schedule::Decision;
use murmuration::scheduler::{BeliefDigest, FleetSummary};
use murmuration::time::Timestamp;
use ractor::RpcReplyPort;

use crate::latest_value::Notice;
use crate::scheduler::Reservation;

/// A report from an endpoint actor.
#[derive(Clone, Debug)]
pub enum Report {
    /// The engine's own report.
    Load(Observation),
    /// The engine could not be reached.
    Unreachable,
}

/// The answer to a request.
pub(super) type Answer = Result<(Reservation, Arc<Decision>), Refusal>;

/// A message.
#[derive(Debug)]
pub enum Message {
    // ---------- from streams ----------
    /// Something is in the queue of streams.
    FromStreams,

    // ---------- from endpoint actors ----------
    /// A report is ready to be collected; its timestamp is when it was made.
    Collect(EndpointId, Notice<(Report, Timestamp)>),

    // ---------- from the pool ----------
    /// The announced endpoints or objectives changed.
    Announced,

    // ---------- from peers ----------
    /// A peer's facts; the reply confirms that they were applied.
    Batch(Box<Batch>, RpcReplyPort<()>),
    /// This incarnation of a peer is gone.
    PeerLost(ReplicaId, Incarnation),

    /// Placements of prefixes and session bindings, each with its age; at most this many of each.
    History(usize, RpcReplyPort<Vec<(Record, Duration)>>),

    // ---------- from itself ----------
    /// The periodic tick.
    Tick,

    // ---------- from comparisons of replicas ----------
    /// The decision that a request would get, with nothing reserved.
    Consider(Box<InferenceRequest>, RpcReplyPort<Result<Decision, Refusal>>),
    /// A digest of the scheduler's state: equal states have equal digests.
    Digest(RpcReplyPort<BeliefDigest>),

    // ---------- from the admin page ----------
    /// A summary of the pool.
    Summary(RpcReplyPort<FleetSummary>),
    /// The decision for a request, by its `x-request-id`.
    Explain(String, RpcReplyPort<Option<Arc<Decision>>>),
    /// The most recent decisions, newest first, at most this many.
    Recent(usize, RpcReplyPort<Vec<Arc<Decision>>>),
}
