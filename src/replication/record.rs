//! The vocabulary of replication: what one replica can publish to another.
//!
//! Must not know bytes (the codec does), lanes, or what a receiver does with a record.

use std::time::Duration;

use crate::fleet::{FailureCounts, InFlight, LoadReport, PrefillSpeed};
use crate::id::{BlockHash, EndpointKey, Incarnation, PoolId, ReplicaId, SessionKey};

/// Facts of one origin, in the order of their numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The replica that observed them.
    pub origin: ReplicaId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The pool that they are about. Numbers count in one pool of one origin.
    pub pool: PoolId,
    /// The batch continues the origin's facts up to this number. Between `after` and `upto` it holds every fact that
    /// still counts. [`Batch::FRAGMENT`] when it continues nothing.
    pub after: u64,
    /// The highest number that it covers.
    pub upto: u64,
    /// The facts.
    pub facts: Vec<Fact>,
}

/// One fact.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// Its number among all facts of its origin's incarnation about its pool, from 1.
    pub seq: u64,
    /// Its age when it was handed to the lane.
    pub age: Duration,
    /// What it states.
    pub record: Record,
}

/// What a fact can state.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// The origin's open work on an endpoint.
    InFlight(InFlightReport),
    /// A request was dispatched.
    Placement(Placement),
    /// A request that was dispatched ended before its prompt was computed.
    PlacementRevoked(PlacementRevoked),
    /// The load report of an endpoint that the origin keeps.
    Load(EndpointLoad),
    /// An endpoint's listener could not be reached by its keeper.
    Unreachable(EndpointKey),
    /// A session is served by an endpoint.
    Bound(Binding),
    /// An engine's cache was cleared, or to which of its processes the cache belongs.
    CacheCleared(CacheCleared),
    /// The origin's counts of an endpoint's last answers, while there are failures among them.
    Failing(Failing),
    /// An endpoint is no longer in the origin's pool: all that the origin published about it is void. On the wire this
    /// is an empty in-flight report, which every version knows. The distinction is for the origin's own log, which
    /// forgets the endpoint.
    Removed(EndpointKey),
}

/// The origin's open work on one endpoint, absolute, all zero when there is none, and how fast it saw the endpoint
/// compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlightReport {
    /// The endpoint.
    pub endpoint: EndpointKey,
    /// Requests dispatched and not finished.
    pub requests: u32,
    /// Prompt tokens dispatched, not believed cached, and not yet answered by a first token.
    pub prefill_tokens: u64,
    /// Estimated answer tokens of those requests. Wire version 1 can't carry them, and they are received as zero.
    pub decode_tokens: u64,
    /// Requests whose prompt the endpoint computes. Who does not send them is taken to have one where it has prompt
    /// tokens.
    pub prefills: u32,
    /// How fast the endpoint computes prompts, by the first tokens that the origin saw; `None` from who does not send it.
    pub speed: Option<PrefillSpeed>,
    /// Prompt tokens that another endpoint computes for this one, without a first token yet; zero from who does not send
    /// it.
    pub incoming_tokens: u64,
}

/// A prompt was sent to an endpoint: from now on it holds the prompt's blocks, or soon will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The endpoint.
    pub endpoint: EndpointKey,
    /// The prompt's anchors, from the head (see [`crate::prefix::anchors`]).
    pub anchors: Vec<BlockHash>,
}

/// A placement whose prompt was not computed. Of the prompt's anchors the endpoint holds only the first `kept`, as far as
/// the origin knows; what other placements say stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementRevoked {
    /// The endpoint.
    pub endpoint: EndpointKey,
    /// The prompt's anchors.
    pub anchors: Vec<BlockHash>,
    /// How many of them were held before.
    pub kept: u16,
}

/// A session was sent to an endpoint: its next request should go there too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The session.
    pub session: SessionKey,
    /// The endpoint.
    pub endpoint: EndpointKey,
}

/// A keeper's knowledge of its endpoint's cache: it contains nothing that was placed there before the fact's own time.
/// Several replicas may publish it, and repeat it: what was placed later stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheCleared {
    /// The endpoint.
    pub endpoint: EndpointKey,
    /// When the engine's process started, in milliseconds of the engine's own clock; zero when the engine does not
    /// report it.
    pub started_ms: u64,
    /// `false` when the keeper saw this process first and saw no loss. A receiver that knows an earlier process infers
    /// a loss.
    pub lost: bool,
}

/// The origin's counts of one endpoint's last answers: absolute, and decaying with the age of the fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failing {
    /// The endpoint.
    pub endpoint: EndpointKey,
    /// The counts.
    pub counts: FailureCounts,
}

/// A keeper's reading of its endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointLoad {
    /// The endpoint.
    pub endpoint: EndpointKey,
    /// Its load report.
    pub report: LoadReport,
}

/// The key by which a record replaces an older one: the same kind of absolute fact about the same endpoint. Placements
/// replace nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Open work on the endpoint.
    InFlight(EndpointKey),
    /// The endpoint's load report, or that its listener is unreachable.
    Load(EndpointKey),
    /// Counts of the endpoint's answers.
    Failing(EndpointKey),
}

// === impl InFlightReport ===

impl InFlightReport {
    /// Nothing is open on `endpoint`.
    pub fn none(endpoint: EndpointKey) -> Self {
        Self::of(endpoint, InFlight::default(), PrefillSpeed::default())
    }

    /// `open` is open on `endpoint`, which computes at `speed`.
    pub fn of(endpoint: EndpointKey, open: InFlight, speed: PrefillSpeed) -> Self {
        let InFlight { requests, prefills, prefill_tokens, decode_tokens, incoming_tokens } = open;
        Self { endpoint, requests, prefills, prefill_tokens, decode_tokens, speed: Some(speed), incoming_tokens }
    }

    /// How much is open.
    pub fn open(self) -> InFlight {
        let Self { requests, prefills, prefill_tokens, decode_tokens, incoming_tokens, .. } = self;
        InFlight { requests, prefills, prefill_tokens, decode_tokens, incoming_tokens }
    }
}

// === impl Batch ===

impl Batch {
    /// The value of `after` in a batch that continues nothing, so it can't show a gap and fills none.
    pub const FRAGMENT: u64 = u64::MAX;
}

// === impl Fact ===

impl Fact {
    /// The value of `seq` in history, which a joining replica receives. Many replicas may send it, and repeat it.
    pub const HISTORY: u64 = 0;
}

// === impl Subject ===

impl Subject {
    /// The endpoint it is about.
    pub fn endpoint(self) -> EndpointKey {
        let (Self::InFlight(endpoint) | Self::Load(endpoint) | Self::Failing(endpoint)) = self;
        endpoint
    }
}

// === impl Record ===

impl Record {
    /// The origin's open work on an endpoint and the speed that it saw there, when it is about that.
    pub fn open_work(&self) -> Option<(InFlight, Option<PrefillSpeed>)> {
        match self {
            Self::InFlight(report) => Some((report.open(), report.speed)),
            Self::Removed(_) => Some((InFlight::default(), Some(PrefillSpeed::default()))),
            _ => None,
        }
    }

    /// Whether each millisecond of delay makes peers decide worse: they dispatch to the same endpoint meanwhile, or to
    /// one that is gone. Readings and ends of requests may wait a little to share a message with other facts.
    pub fn is_urgent(&self) -> bool {
        matches!(self, Self::Placement(_) | Self::Unreachable(_))
    }

    /// The subject under which it replaces older records. `None` for records about one prompt or session, which are too
    /// many to keep a place for each, and for cleared caches: these replace nothing.
    pub fn subject(&self) -> Option<Subject> {
        match self {
            Self::InFlight(report) => Some(Subject::InFlight(report.endpoint)),
            Self::Load(load) => Some(Subject::Load(load.endpoint)),
            Self::Unreachable(endpoint) => Some(Subject::Load(*endpoint)),
            Self::Failing(failing) => Some(Subject::Failing(failing.endpoint)),
            Self::Removed(endpoint) => Some(Subject::InFlight(*endpoint)),
            Self::Placement(_) | Self::PlacementRevoked(_) | Self::Bound(_) | Self::CacheCleared(_) => None,
        }
    }
}
