//! The vocabulary of the replication: what one replica can tell another.
//!
//! Must not know bytes (the codec does), lanes, or what a hearer does with it.

use std::time::Duration;

use crate::fleet::{FailureCounts, InFlight, LoadReport};
use crate::id::{BlockHash, EndpointKey, Incarnation, ReplicaId, SessionKey};

/// Facts of one origin, in the order of their numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Who observed them.
    pub origin: ReplicaId,
    /// In which of its lives.
    pub incarnation: Incarnation,
    /// The batch continues what the origin said up to this number; of what lies between `after` and `upto` it holds all
    /// that still counts. [`Batch::FRAGMENT`] when it continues nothing.
    pub after: u64,
    /// The highest number it speaks for.
    pub upto: u64,
    /// The facts.
    pub facts: Vec<Fact>,
}

/// One fact.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// Its number among all facts of its origin's life, from 1.
    pub seq: u64,
    /// How old it was when it was handed to the lane.
    pub age: Duration,
    /// What is said.
    pub record: Record,
}

/// What can be said.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// The origin's open work on an endpoint.
    InFlight(InFlightReport),
    /// A request was dispatched.
    Placement(Placement),
    /// A request that was dispatched ended before its prompt was computed.
    PlacementRevoked(PlacementRevoked),
    /// What an endpoint, kept by the origin, said of itself.
    Load(EndpointLoad),
    /// An endpoint's listener could not be reached by its keeper.
    Unreachable(EndpointKey),
    /// A session is served by an endpoint.
    Bound(Binding),
    /// An engine's cache was cleared, or which of its processes it is of.
    CacheCleared(CacheCleared),
    /// What the origin saw of an endpoint's last answers, while there are failures among them.
    Failing(Failing),
    /// An endpoint is no longer in the origin's pool: all that the origin said of it is void. On the wire this is a share of
    /// nothing, which every version knows; the rest is for the origin's own log, which forgets the endpoint.
    Removed(EndpointKey),
}

/// The origin's open work on one endpoint: absolute, all zero when there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlightReport {
    /// On whom.
    pub endpoint: EndpointKey,
    /// Requests dispatched and not finished.
    pub requests: u32,
    /// Prompt tokens dispatched, not thought cached, and not yet answered by a first token.
    pub prefill_tokens: u64,
    /// Estimated tokens of the answers of those requests. Connection version 1 can't say them, and is heard as none.
    pub decode_tokens: u64,
}

/// A prompt was sent to an endpoint: from now on it holds the prompt's blocks, or soon will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// To whom.
    pub endpoint: EndpointKey,
    /// The prompt's anchors, from the head (see [`crate::prefix::anchors`]).
    pub anchors: Vec<BlockHash>,
}

/// A placement that did not come true: of the prompt's anchors the endpoint holds only the first `kept`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementRevoked {
    /// Who.
    pub endpoint: EndpointKey,
    /// The prompt's anchors.
    pub anchors: Vec<BlockHash>,
    /// How many of them were held before.
    pub kept: u16,
}

/// A session was sent to an endpoint: its next request shall go there too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Whose session.
    pub session: SessionKey,
    /// To whom.
    pub endpoint: EndpointKey,
}

/// What a keeper knows of its endpoint's cache: nothing that was placed there before the fact's own time is in it. It may
/// be told by several and repeated: what was placed later stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheCleared {
    /// Whose cache.
    pub endpoint: EndpointKey,
    /// When the engine's process started, in milliseconds of the engine's own clock; zero where it does not tell.
    pub started_ms: u64,
    /// `false` where the keeper saw this process first and saw no loss: whoever knows of an earlier one knows that there was
    /// a loss.
    pub lost: bool,
}

/// What the origin saw of one endpoint's last answers: absolute, and fading by the age of the fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Whose answers.
    pub endpoint: EndpointKey,
    /// How many.
    pub counts: FailureCounts,
}

/// A keeper's reading of its endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointLoad {
    /// Whose.
    pub endpoint: EndpointKey,
    /// What it said.
    pub report: LoadReport,
}

/// What makes a record replace an older one: the same kind of absolute fact about the same endpoint. Placements replace
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Open work on the endpoint.
    InFlight(EndpointKey),
    /// The endpoint's own word, or that its listener is gone.
    Load(EndpointKey),
    /// What was seen of the endpoint's answers.
    Failing(EndpointKey),
}

// === impl InFlightReport ===

impl InFlightReport {
    /// Nothing is open on `endpoint`.
    pub fn none(endpoint: EndpointKey) -> Self {
        Self::of(endpoint, InFlight::default())
    }

    /// `open` is open on `endpoint`.
    pub fn of(endpoint: EndpointKey, open: InFlight) -> Self {
        let InFlight { requests, prefill_tokens, decode_tokens } = open;
        Self { endpoint, requests, prefill_tokens, decode_tokens }
    }

    /// How much is open.
    pub fn open(self) -> InFlight {
        let Self { requests, prefill_tokens, decode_tokens, .. } = self;
        InFlight { requests, prefill_tokens, decode_tokens }
    }
}

// === impl Batch ===

impl Batch {
    /// As `after`: the batch continues nothing, so it can't show a gap and fills none.
    pub const FRAGMENT: u64 = u64::MAX;
}

// === impl Fact ===

impl Fact {
    /// As `seq`: the fact is history, told to one that joins; it may be told by many and repeated.
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
    /// The origin's open work on an endpoint, when it is about that.
    pub fn open_work(&self) -> Option<InFlight> {
        match self {
            Self::InFlight(share) => Some(share.open()),
            Self::Removed(_) => Some(InFlight::default()),
            _ => None,
        }
    }

    /// Whether peers decide worse for each millisecond that it comes later: others dispatch to the same endpoint meanwhile, or
    /// to one that is gone. Readings and ends of requests may wait a little for something to go with.
    pub fn is_urgent(&self) -> bool {
        matches!(self, Self::Placement(_) | Self::Unreachable(_))
    }

    /// What it replaces; `None` for what is told of one prompt or session, which replaces nothing on its way: there are too
    /// many of them to keep a place for each.
    pub fn subject(&self) -> Option<Subject> {
        match self {
            Self::InFlight(share) => Some(Subject::InFlight(share.endpoint)),
            Self::Load(word) => Some(Subject::Load(word.endpoint)),
            Self::Unreachable(endpoint) => Some(Subject::Load(*endpoint)),
            Self::Failing(failing) => Some(Subject::Failing(failing.endpoint)),
            Self::Removed(endpoint) => Some(Subject::InFlight(*endpoint)),
            Self::Placement(_) | Self::PlacementRevoked(_) | Self::Bound(_) | Self::CacheCleared(_) => None,
        }
    }
}
