//! Why a request gets no endpoint: a status, a stable code and one public sentence.
//!
//! Must not know gRPC or how the answer is encoded. Every code has a page in `deploy/runbook/`.

use std::fmt;

/// The stable reason, which names the runbook page. Reasons that llm-d has keep its spelling
/// (`x-llm-d-request-dropped-reason`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusalCode {
    /// The body can't be read as the API of its path requires.
    BadRequest,
    /// The body is larger than this replica accepts.
    BodyTooLarge,
    /// No endpoint of the pool (or of the subset) can take the request.
    NoEndpoints,
    /// The request wants an endpoint that holds some of its prompt, and the chosen one holds none.
    NoCachedPrefix,
    /// The pool is saturated and the request may be shed.
    Saturated,
    /// This replica holds as many streams as it may.
    TooManyStreams,
    /// The request arrived too slowly, or was dropped in favour of others while it was still arriving.
    RequestTooSlow,
    /// This replica holds as many bytes of requests as it may.
    TooManyBytes,
    /// The scheduler did not answer in time.
    PickerBusy,
    /// This replica is stopping.
    ShuttingDown,
}

/// The replica's own answer to a request that it refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The stable reason.
    pub code: RefusalCode,
    /// One sentence for the client: what is wrong and, where known, how to fix it. No internals.
    pub sentence: String,
}

// === impl RefusalCode ===

impl RefusalCode {
    /// All codes, in declaration order.
    pub const ALL: [Self; 10] = [
        Self::BadRequest,
        Self::BodyTooLarge,
        Self::NoEndpoints,
        Self::NoCachedPrefix,
        Self::Saturated,
        Self::TooManyStreams,
        Self::RequestTooSlow,
        Self::TooManyBytes,
        Self::PickerBusy,
        Self::ShuttingDown,
    ];

    /// The HTTP status of the answer.
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::RequestTooSlow => 408,
            Self::NoCachedPrefix => 412,
            Self::BodyTooLarge => 413,
            Self::Saturated => 429,
            Self::NoEndpoints | Self::TooManyStreams | Self::TooManyBytes | Self::PickerBusy | Self::ShuttingDown => {
                503
            }
        }
    }

    /// The stable spelling, as in the answer's `x-llm-d-request-dropped-reason` and in the runbook's file names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::BodyTooLarge => "body-too-large",
            Self::NoEndpoints => "rejected-no-endpoints",
            Self::NoCachedPrefix => "no-cached-prefix",
            Self::Saturated => "rejected-saturated",
            Self::TooManyStreams => "too-many-streams",
            Self::RequestTooSlow => "request-too-slow",
            Self::TooManyBytes => "too-many-bytes",
            Self::PickerBusy => "picker-busy",
            Self::ShuttingDown => "rejected-shutting-down",
        }
    }

    /// The word llm-d puts into the body: `inference error: <Word> - <sentence>`.
    pub fn word(self) -> &'static str {
        match self {
            Self::BadRequest => "BadRequest",
            Self::RequestTooSlow => "RequestTimeout",
            Self::BodyTooLarge => "PayloadTooLarge",
            Self::NoCachedPrefix => "PreconditionFailed",
            Self::Saturated => "ResourceExhausted",
            Self::NoEndpoints | Self::TooManyStreams | Self::TooManyBytes | Self::PickerBusy | Self::ShuttingDown => {
                "ServiceUnavailable"
            }
        }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Refusal ===

impl Refusal {
    /// A refusal with its public sentence.
    pub fn new(code: RefusalCode, sentence: impl Into<String>) -> Self {
        Self { code, sentence: sentence.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inference error: {} - {}", self.code.word(), self.sentence)
    }
}

impl std::error::Error for Refusal {}
