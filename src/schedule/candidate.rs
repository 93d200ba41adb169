//! What plugins are shown: the request, and one row for each endpoint.
//!
//! Must not know plugins. Rows are plain borrowed facts: no maps, no `any`, nothing that a plugin could change.

use std::time::Duration;

use crate::fleet::{Adapters, Endpoint, FailureCounts, InFlight, Trust};
use crate::id::Slot;
use crate::prefix::PrefixMatch;
use crate::request::InferenceRequest;
use crate::schedule::uncertainty::{Uncertainty, first_key};

/// The question put to the plugins.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The request.
    pub request: &'a InferenceRequest,
    /// What decides among equals.
    pub key: u64,
    /// How far the rows may be off.
    pub uncertainty: Uncertainty,
}

/// One endpoint as the plugins see it. Rows come ordered by [`crate::id::EndpointId`], so an index into them means the
/// same on every replica that believes the same.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its place in the columns.
    pub slot: Slot,
    /// What discovery said.
    pub endpoint: &'a Endpoint,
    /// Requests waiting: the report's, and those dispatched since it was made.
    pub waiting: f64,
    /// Requests running, by the report.
    pub running: f64,
    /// KV-cache use by the report, `0..=1`.
    pub kv_usage: f64,
    /// LoRA adapters by the report; `None` where the engine reports none.
    pub adapters: Option<&'a Adapters>,
    /// Open work that was dispatched here and not seen to end.
    pub in_flight: InFlight,
    /// How much of the request's prompt it is believed to hold.
    pub matched: PrefixMatch,
    /// Whether the request's session is bound to it.
    pub session: SessionMatch,
    /// How far the report can be trusted.
    pub trust: Trust,
    /// The report's age; `None` where there is none.
    pub age: Option<Duration>,
    /// What was seen of its last answers, where most of them were failures and this request shall not try it: others go
    /// first, as long as the filters leave any.
    pub failing: Option<FailureCounts>,
}

/// Whether a request's session is bound to an endpoint, by either way of knowing sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionMatch {
    /// The client named the endpoint, as an earlier answer told it to.
    pub token: bool,
    /// The client named its session, and the tier remembers the endpoint.
    pub id: bool,
}

// === impl Ask ===

impl<'a> Ask<'a> {
    /// The question where all is known that others did, and nobody holds anything yet.
    pub fn sure(request: &'a InferenceRequest) -> Self {
        Self { request, key: first_key(request), uncertainty: Uncertainty::None }
    }
}

// === impl Candidate ===

impl Candidate<'_> {
    /// Prompt tokens of `ask` that this endpoint would have to compute.
    pub fn uncached_tokens(&self, ask: &Ask<'_>) -> u64 {
        let prompt = &ask.request.prompt;
        let cached = u64::from(self.matched.blocks) * u64::from(prompt.chain.block_tokens());
        prompt.tokens.saturating_sub(cached)
    }
}
