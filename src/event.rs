//! Every fact worth telling, one variant each.
//!
//! Must not know logs, metrics or spans. Facts are pushed by those who see them happen; `actors/src/telemetry` counts
//! and prints them, the simulator judges them.

use std::time::Duration;

use crate::fleet::{CacheLoss, FailureCounts, Missing, Trust};
use crate::id::{EndpointId, Incarnation, ReplicaId, Ticket};
use crate::request::{Outcome, RefusalCode, Usage};

/// A fact.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Discovery announced an endpoint, or changed its facts.
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
        /// Whose.
        endpoint: EndpointId,
        /// From.
        from: Trust,
        /// To.
        to: Trust,
    },
    /// A metrics page came whole.
    Scraped {
        /// Whose.
        endpoint: EndpointId,
        /// From the sending of the request to the report.
        took: Duration,
        /// The page's size in bytes.
        bytes: usize,
    },
    /// A metrics page did not come, or was torn, endless or foreign. The belief stays as it was and ages.
    ScrapeFailed {
        /// Whose.
        endpoint: EndpointId,
        /// A stable word: `connect`, `timeout`, `status`, `too-large`, `broken`, `path`, `torn`, `foreign`; or
        /// `own-resources`, which is no fault of the engine.
        kind: &'static str,
        /// What exactly, for people.
        why: String,
    },
    /// An engine's page lacks gauges that it told before, or tells some again. What it does not tell is unknown.
    GaugesMissing {
        /// Whose.
        endpoint: EndpointId,
        /// What is missing now.
        missing: Missing,
    },
    /// An engine lost its cache: what was placed there before is no longer believed.
    CacheCleared {
        /// Whose.
        endpoint: EndpointId,
        /// How it was noticed.
        loss: CacheLoss,
    },
    /// An engine began to fail most of what it is asked, or no longer does.
    EndpointFailing {
        /// Whose.
        endpoint: EndpointId,
        /// Whether it does now.
        failing: bool,
        /// What was seen of its last answers.
        counts: FailureCounts,
    },
    /// A request got its endpoints, and they were reserved.
    Decided(Box<Decided>),
    /// A request was refused, by the scheduler or before it; its stream tells so once.
    Refused {
        /// `x-request-id`.
        request_id: String,
        /// The model asked for, as far as it was read.
        model: String,
        /// The stable reason.
        code: RefusalCode,
        /// The public sentence.
        sentence: String,
    },
    /// Envoy used another endpoint than the first of the list; the books were moved.
    ServedElsewhere {
        /// Whose request.
        ticket: Ticket,
        /// Who was decided.
        decided: EndpointId,
        /// Who served; `None` when the address is nobody's.
        served: Option<EndpointId>,
    },
    /// A ticket was closed.
    TicketClosed {
        /// Which.
        ticket: Ticket,
        /// How it ended.
        outcome: Outcome,
    },
    /// The proxy answered a client by itself, before it showed the request here (CORS, RBAC, JWT, rate limits and the like).
    LocalReply {
        /// HTTP status of the answer; `None` where it was not shown.
        status: Option<u16>,
    },
    /// A request's life as its stream saw it, told once when the stream ends.
    RequestFinished(Box<RequestFinished>),
    /// A peer was seen to live, in this life of it.
    PeerJoined {
        /// Who.
        peer: ReplicaId,
        /// In which life.
        incarnation: Incarnation,
    },
    /// A peer is gone: dead, or said goodbye.
    PeerLost {
        /// Who.
        peer: ReplicaId,
        /// In which life.
        incarnation: Incarnation,
    },
    /// A peer's facts came.
    BatchReceived {
        /// Whose.
        peer: ReplicaId,
        /// `stream` or `gossip`.
        lane: &'static str,
        /// How many.
        facts: usize,
        /// Bytes that they took on the lane.
        bytes: usize,
        /// The age of the youngest one when its origin handed it to the lane; `None` for what has none (history).
        age: Option<Duration>,
    },
    /// What a peer said was not taken in: `past-life`, `too-many-peers`, `malformed`, `too-new`;
    /// of a gossip datagram: `unsealed`, `old-envelope`, `stale`, `replayed`, `reflected`, `too-large`, `impossible`; of a
    /// stream: `certificate`, `not-its-name`, `not-a-member`.
    PeerIgnored {
        /// Who, as far as it is known.
        peer: ReplicaId,
        /// A stable word.
        why: &'static str,
    },
    /// Facts of a peer found no room: it speaks of more endpoints that are not in this replica's pool than are kept.
    PeerFactsRefused {
        /// Whose.
        peer: ReplicaId,
        /// How many.
        facts: usize,
    },
    /// Facts of this replica found no room in gossip; only peer streams bring them.
    GossipLeftOut {
        /// How many.
        facts: u64,
    },
    /// Facts were said to a peer or to all.
    BatchSent {
        /// `stream` or `gossip`.
        lane: &'static str,
        /// Bytes.
        bytes: usize,
    },
    /// What a peer said did not continue what was heard of it, and a snapshot was asked for.
    GapRepaired {
        /// Whose.
        peer: ReplicaId,
    },
    /// Endpoints that this replica watches now, of all.
    Keeping {
        /// As keeper.
        kept: usize,
        /// In the pool.
        of: usize,
    },
    /// A connection was not let in, or was ended, by this replica.
    ConnectionClosed {
        /// Which port: `ext-proc`, `health`, `admin` or `peers`.
        port: &'static str,
        /// A stable word: `full`, `address-full` (no place left), `handshake`, `handshake-timeout`, `handshake-displaced`,
        /// `server-name` (TLS), `no-preface`, `idle` (HTTP/2), `unanswered` or `old` (pages).
        why: &'static str,
    },
    /// The authority of a request was none that an HTTP library takes, and was repaired before one saw it.
    AuthorityRepaired {
        /// Which port.
        port: &'static str,
    },
    /// A client asked for a server name in TLS that is no DNS name, and was refused for it.
    ServerNameRefused {
        /// Which port.
        port: &'static str,
        /// The name, as far as it is text; 256 bytes at most.
        name: String,
    },
    /// Configuration or discovery was reloaded; the text says what from.
    Reloaded(String),
    /// A reload failed and what was known stays in force.
    ReloadFailed(String),
    /// Prompts are hashed under another salt from now on: what is known of prefixes matches nothing any more.
    PromptSaltChanged {
        /// The incarnation of the replica that drew it.
        drawn_by: Incarnation,
    },
    /// The gossip lane ended, and starts again as the next incarnation of this replica.
    GossipRestarted {
        /// The incarnation that ended.
        was: Incarnation,
        /// The one that begins.
        now: Incarnation,
        /// Why, for people.
        why: String,
    },
    /// An actor or task failed and is started again.
    ActorRestarted {
        /// Which, for people; its first word is its kind.
        actor: String,
        /// Why it failed.
        why: String,
    },
    /// A part that the replica can't do without failed too often: the replica ends.
    PartGivenUp {
        /// Which, for people.
        part: String,
        /// How often in a row it failed.
        attempts: u32,
        /// Why it failed last.
        why: String,
    },
    /// Something in this process panicked, whoever catches it: a part, or the task of one connection.
    Panicked {
        /// File and line.
        place: String,
        /// What it said.
        why: String,
    },
}

/// The fact of a decision.
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
    /// Fairness id.
    pub fairness_id: String,
    /// Priority.
    pub priority: i32,
    /// The serving endpoint.
    pub endpoint: EndpointId,
    /// Its port, for `scheduler_attempts_total`.
    pub port: u16,
    /// Blocks of the prompt that it was believed to hold, and blocks in all.
    pub matched: crate::prefix::PrefixMatch,
    /// Tokens of a block.
    pub block_tokens: u32,
    /// Candidates before filters.
    pub candidates: usize,
}

/// A request's life.
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
    /// From the request's first byte to the end.
    pub duration: Duration,
    /// From the request's first byte to the decision's answer.
    pub decided_after: Option<Duration>,
    /// From the request's first byte to the first token (streamed) or first body byte.
    pub first_token_after: Option<Duration>,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
    /// What the engine counted.
    pub usage: Option<Usage>,
    /// Cached share that the index promised, `0..=1`.
    pub predicted_share: f64,
}
