//! Everything that happens in a replica and is worth reporting, one variant each.
//!
//! Must not know logs, metrics or spans. The code that observes an event emits it. `actors/src/telemetry` counts and
//! logs events, and the simulator checks them.

mod sidecar;

use std::time::Duration;

use crate::fleet::{CacheLoss, FailureCounts, Missing, Trust};
use crate::id::{EndpointId, Incarnation, PluginName, PoolId, ReplicaId, Ticket};
use crate::request::{Outcome, RefusalCode, Usage};

pub use sidecar::SidecarEvent;

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Discovery announced an endpoint, or changed its address or labels.
    EndpointJoined(EndpointId),
    /// Discovery withdrew an endpoint.
    EndpointLeft(EndpointId),
    /// Discovery announced something that can't be an endpoint: what, and why.
    EndpointRefused {
        /// The name it was announced under.
        endpoint: String,
        /// Why it can't be one.
        why: String,
    },
    /// The trust in an endpoint's load changed.
    TrustChanged {
        /// The endpoint.
        endpoint: EndpointId,
        /// Trust before.
        from: Trust,
        /// Trust now.
        to: Trust,
    },
    /// A complete metrics page was read.
    Scraped {
        /// The endpoint.
        endpoint: EndpointId,
        /// Time from sending the request to the report.
        took: Duration,
        /// The page's size in bytes.
        bytes: usize,
    },
    /// A scrape failed: no page, or a page that is torn, endless or foreign. The last report stays in use and ages.
    ScrapeFailed {
        /// The endpoint.
        endpoint: EndpointId,
        /// A stable label: `connect`, `timeout`, `status`, `too-large`, `broken`, `path`, `torn` or `foreign`.
        /// `own-resources` is no fault of the engine.
        kind: &'static str,
        /// The details, for people.
        why: String,
    },
    /// An engine's page lacks gauges that it had before, or has some again. A gauge that is missing is unknown.
    GaugesMissing {
        /// The endpoint.
        endpoint: EndpointId,
        /// What is missing now.
        missing: Missing,
    },
    /// An engine lost its cache: earlier placements there no longer count.
    CacheCleared {
        /// The endpoint.
        endpoint: EndpointId,
        /// How it was detected.
        loss: CacheLoss,
    },
    /// An engine began to fail most of its requests, or no longer does.
    EndpointFailing {
        /// The endpoint.
        endpoint: EndpointId,
        /// Whether it fails now.
        failing: bool,
        /// The counts of its recent answers.
        counts: FailureCounts,
    },
    /// A request got its endpoints, and they were reserved.
    Decided(Box<Decided>),
    /// A request was refused, by the scheduler or before it. The stream emits this once.
    Refused {
        /// `x-request-id`.
        request_id: String,
        /// The requested model, if it was read.
        model: String,
        /// The stable reason.
        code: RefusalCode,
        /// The public sentence.
        sentence: String,
    },
    /// Envoy used another endpoint than the first of the list. If it is known, the request's load moves there.
    ServedElsewhere {
        /// The request's ticket.
        ticket: Ticket,
        /// The endpoint that was chosen.
        decided: EndpointId,
        /// The endpoint that served; `None` when no endpoint has the address.
        served: Option<EndpointId>,
    },
    /// A ticket was closed.
    TicketClosed {
        /// The ticket.
        ticket: Ticket,
        /// How it ended.
        outcome: Outcome,
    },
    /// The proxy answered a client itself, before this replica saw the request (CORS, RBAC, JWT, rate limits and such).
    LocalReply {
        /// HTTP status of the answer; `None` if this replica did not see it.
        status: Option<u16>,
    },
    /// The record of a request as its stream saw it, emitted once when the stream ends.
    RequestFinished(Box<RequestFinished>),
    /// A peer was seen alive, in this incarnation.
    PeerJoined {
        /// The peer.
        peer: ReplicaId,
        /// Its incarnation.
        incarnation: Incarnation,
    },
    /// A peer is gone: it died, or announced that it is leaving.
    PeerLost {
        /// The peer.
        peer: ReplicaId,
        /// Its incarnation.
        incarnation: Incarnation,
    },
    /// A batch of facts from a peer was received.
    BatchReceived {
        /// The peer.
        peer: ReplicaId,
        /// `stream` or `gossip`.
        lane: &'static str,
        /// Number of facts.
        facts: usize,
        /// Bytes of the batch on the lane.
        bytes: usize,
        /// Age of the youngest fact when its origin handed it to the lane; `None` for facts without an age (history).
        age: Option<Duration>,
    },
    /// A message of a peer was ignored: `stale-incarnation`, `too-many-peers`, `malformed`, `too-new`.
    /// For a gossip datagram also: `unsealed`, `old-envelope`, `stale`, `replayed`, `reflected`, `too-large`,
    /// `impossible`. For a stream also: `certificate`, `not-its-name`, `not-a-member`.
    PeerIgnored {
        /// The peer, as far as it is known.
        peer: ReplicaId,
        /// A stable label.
        why: &'static str,
    },
    /// A batch of a peer was ignored: it is about a pool that this replica does not serve.
    PoolNotServed {
        /// The peer.
        peer: ReplicaId,
        /// The pool.
        pool: PoolId,
    },
    /// Facts of a peer were dropped: they concern more endpoints outside this replica's pool than it keeps.
    PeerFactsRefused {
        /// The peer.
        peer: ReplicaId,
        /// Number of facts.
        facts: usize,
    },
    /// Facts of this replica did not fit into gossip; only peer streams carry them.
    GossipLeftOut {
        /// Number of facts.
        facts: u64,
    },
    /// Facts were sent to one peer or to all.
    BytesSent {
        /// `stream` or `gossip`.
        lane: &'static str,
        /// Bytes.
        bytes: usize,
        /// The zone of this replica and that of the peer, where they differ.
        zones: Option<[std::sync::Arc<str>; 2]>,
    },
    /// A peer's facts did not continue those received before, and a snapshot was requested.
    GapRepaired {
        /// The peer.
        peer: ReplicaId,
    },
    /// How many endpoints this replica keeps now.
    Keeping {
        /// Endpoints whose keeper it is.
        kept: usize,
        /// Endpoints in the pool.
        of: usize,
    },
    /// This replica refused or closed a connection.
    ConnectionClosed {
        /// Which port: `ext-proc`, `health`, `admin`, `peers` or `sidecar`.
        port: &'static str,
        /// A stable label: `full`, `address-full` (no slot left), `handshake`, `handshake-timeout`,
        /// `handshake-displaced`, `server-name` (TLS), `no-preface`, `idle` (HTTP/2), `unanswered` or `old` (pages), `unread`
        /// (a client left an answer of a sidecar unread).
        why: &'static str,
    },
    /// The authority of a request was not one that an HTTP library accepts. It was repaired before the library saw it.
    AuthorityRepaired {
        /// Which port.
        port: &'static str,
    },
    /// A client was refused because its TLS server name is no DNS name.
    ServerNameRefused {
        /// Which port.
        port: &'static str,
        /// The name, as far as it is text; 256 bytes at most.
        name: String,
    },
    /// A producer was asked about a request before its decision.
    Prepared {
        /// The producer's type.
        producer: &'static str,
        /// A stable label: `ok`, or why the request went on without (all of) an answer: `busy`, `too-large`, `timeout`,
        /// or a reason of the producer's own (of `token-producer`: `connect`, `broken`, `status` or `malformed`).
        result: &'static str,
    },
    /// Configuration or discovery was reloaded; the text names the source.
    Reloaded(String),
    /// A reload failed; the previous state stays in force.
    ReloadFailed(String),
    /// A watch of the API server was cut, refused or answered wrongly. It tries again, and what was known stays in force.
    WatchFailed {
        /// What is watched: `inferencepools`, `pods`, `peers`, or a plural with its group.
        resource: &'static str,
        /// A stable label: `expired` (normal), `absent`, `denied`, `status`, `unreachable` or `malformed`.
        reason: &'static str,
    },
    /// A watch keeps failing: what is known of these objects grows old from now on.
    WatchInterrupted {
        /// What is watched.
        resource: &'static str,
        /// Why, with the likely cure.
        why: String,
    },
    /// All objects were listed for the first time, or after an interruption.
    WatchEstablished {
        /// What is watched.
        resource: &'static str,
        /// Number of objects.
        objects: usize,
        /// How long it was interrupted; `None` for the first time.
        outage: Option<Duration>,
    },
    /// The cluster does not have this kind of object, which it may lack. It is looked for again.
    WatchAbsent {
        /// What is watched.
        resource: &'static str,
    },
    /// An object of the API has a field that can't be used. The former state of it stays in force, if there is one.
    ObjectRefused {
        /// Its kind, namespace and name.
        object: String,
        /// Which field, and why.
        why: String,
    },
    /// The condition of an object of the API was written, or was to be.
    StatusWrite {
        /// The objects' plural with its group.
        resource: &'static str,
        /// A stable label: `written`, `conflict` (the object has changed meanwhile), `denied` or `failed`.
        outcome: &'static str,
    },
    /// Conditions of these objects can't be written for lack of a right. It changes nothing else.
    StatusDenied {
        /// The objects' plural with its group.
        resource: &'static str,
        /// Which right.
        why: String,
    },
    /// A caller of `/metrics` was not admitted; a stable label says why: `unauthenticated`, `forbidden` or `unavailable`.
    MetricsRefused(&'static str),
    /// The API server can't be asked about callers of `/metrics`, and why: only those that it admitted lately are admitted.
    ReviewFailed(String),
    /// The pool does not exist, or was deleted. Its endpoints are withdrawn, and the replica is not ready for it.
    PoolMissing {
        /// Its namespace and name.
        pool: String,
    },
    /// Prompts are hashed with another salt from now on, so known prefixes no longer match.
    PromptSaltChanged {
        /// The incarnation of the replica that drew it.
        drawn_by: Incarnation,
    },
    /// The gossip lane ended and restarts as the next incarnation of this replica.
    GossipRestarted {
        /// The incarnation that ended.
        was: Incarnation,
        /// The one that begins.
        now: Incarnation,
        /// Why, for people.
        why: String,
    },
    /// An actor or task failed and is restarted.
    ActorRestarted {
        /// The actor, for people; the first word is its kind.
        actor: String,
        /// Why it failed.
        why: String,
    },
    /// A part that the replica can't run without failed too often: the replica ends.
    PartGivenUp {
        /// The part, for people.
        part: String,
        /// How often in a row it failed.
        attempts: u32,
        /// Why it failed last.
        why: String,
    },
    /// What happened in a sidecar.
    Sidecar(SidecarEvent),
    /// Code in this process panicked, wherever the panic is caught: in a part, or in the task of one connection.
    Panicked {
        /// File and line.
        place: String,
        /// The panic message.
        why: String,
    },
}

/// The record of a decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// The stream's ticket.
    pub ticket: Ticket,
    /// `x-request-id`.
    pub request_id: String,
    /// The model as the client wrote it.
    pub model: String,
    /// The model the engine is asked for.
    pub target_model: String,
    /// The name of the rule that rewrote the model; `None` where none did, or a header.
    pub rewritten_by: Option<String>,
    /// Fairness id.
    pub fairness_id: String,
    /// Priority.
    pub priority: i32,
    /// The serving endpoint.
    pub endpoint: EndpointId,
    /// Its port, for `scheduler_attempts_total`.
    pub port: u16,
    /// Blocks of the prompt that the endpoint was believed to hold, and the prompt's blocks in total.
    pub matched: crate::prefix::PrefixMatch,
    /// Tokens of a block.
    pub block_tokens: u32,
    /// Number of candidates before filters.
    pub candidates: usize,
    /// How the request's stages were split, where its profile handler can split them.
    pub split: Option<Split>,
}

/// How the stages of a request were split among endpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// The profile handler.
    pub handler: PluginName,
    /// llm-d's name of the result, such as `prefill-decode`.
    pub decision: &'static str,
    /// The endpoint of the prefill stage, if it is another one.
    pub prefill: Option<EndpointId>,
}

/// The record of a finished request.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestFinished {
    /// `x-request-id`.
    pub request_id: String,
    /// The model as the client wrote it.
    pub model: String,
    /// The model the engine was asked for.
    pub target_model: String,
    /// Fairness id.
    pub fairness_id: String,
    /// Priority.
    pub priority: i32,
    /// How it ended.
    pub outcome: Outcome,
    /// HTTP status of the answer; `None` when none came.
    pub status: Option<u16>,
    /// Whether the answer was streamed.
    pub streaming: bool,
    /// Time from the request's first byte to the end.
    pub duration: Duration,
    /// Time from the request's first byte to the decision's answer.
    pub decided_after: Option<Duration>,
    /// Time from the request's first byte to the first token (streamed) or first body byte.
    pub first_token_after: Option<Duration>,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
    /// Token counts reported by the engine.
    pub usage: Option<Usage>,
    /// Share of the prompt that the index predicted as cached, `0..=1`.
    pub predicted_share: f64,
}
