//! The input of plugins: the request, and one row for each endpoint.
//!
//! Must not know plugins. Rows are plain borrowed facts: no maps, no `any`, nothing that a plugin could change.

use std::time::Duration;

use crate::fleet::{
    Adapters, Endpoint, FailureCounts, InFlight, PrefillSpeed, STANDARD_LABELS, Stages, TopologyLabels, Trust,
};
use crate::id::Slot;
use crate::prefix::PrefixMatch;
use crate::request::InferenceRequest;
use crate::schedule::uncertainty::{Uncertainty, first_key};

/// The question that plugins answer.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The request.
    pub request: &'a InferenceRequest,
    /// The key that breaks ties.
    pub key: u64,
    /// How incomplete the rows may be.
    pub uncertainty: Uncertainty,
    /// Requests of other replicas at the same moment that count as dispatched before this one, though no row shows
    /// them.
    pub before: usize,
    /// The labels that say where endpoints run.
    pub topology: &'a TopologyLabels,
    /// The endpoint that is chosen already for the other stage: for prefill the one that decodes, for decoding the one
    /// that prefills. `None` if there is none, or the profile is for another stage.
    pub peer: Option<&'a Endpoint>,
}

/// One endpoint as the plugins see it. Rows come ordered by [`crate::id::EndpointId`], so an index into them means the
/// same on every replica that believes the same.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its slot in the fleet's columns.
    pub slot: Slot,
    /// The endpoint as discovery announced it.
    pub endpoint: &'a Endpoint,
    /// The stages that its labels allow.
    pub stages: Stages,
    /// Requests waiting: the report's, and those dispatched since it was made.
    pub waiting: f64,
    /// Requests running, by the report.
    pub running: f64,
    /// KV-cache use by the report, `0..=1`.
    pub kv_usage: f64,
    /// Tokens that its KV cache has room for; `None` where no report says it.
    pub kv_tokens: Option<u64>,
    /// LoRA adapters by the report; `None` where the engine reports none.
    pub adapters: Option<&'a Adapters>,
    /// Open work that any replica dispatched to it and that is not known to have ended.
    pub in_flight: InFlight,
    /// How fast it computes prompts, by the first tokens that any replica saw; `None` if not all say it.
    pub speed: Option<PrefillSpeed>,
    /// How much of the request's prompt it is believed to hold.
    pub matched: PrefixMatch,
    /// Whether the request's session is bound to it.
    pub session: SessionMatch,
    /// How far the report can be trusted.
    pub trust: Trust,
    /// The report's age; `None` where there is none.
    pub age: Option<Duration>,
    /// Failure counts of its last answers, if most of them were failures and this request must not probe it. Other
    /// endpoints go first, as long as the filters leave any.
    pub failing: Option<FailureCounts>,
}

/// Whether a request's session is bound to an endpoint, by token or by the session's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionMatch {
    /// The client named the endpoint by the token of an earlier answer.
    pub token: bool,
    /// The client named its session, and the tier has bound it to the endpoint.
    pub id: bool,
}

// === impl Ask ===

impl<'a> Ask<'a> {
    /// A question without uncertainty, where no endpoint holds any of the prompt.
    pub fn sure(request: &'a InferenceRequest) -> Self {
        let (uncertainty, topology) = (Uncertainty::None, &STANDARD_LABELS);
        Self { request, key: first_key(request), uncertainty, before: 0, topology, peer: None }
    }
}

// === impl Candidate ===

impl Candidate<'_> {
    /// Prompt tokens of `ask` that this endpoint would have to compute.
    pub fn uncached_tokens(&self, ask: &Ask<'_>) -> u64 {
        ask.request.prompt.uncached(self.matched.blocks)
    }
}
