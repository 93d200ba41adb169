//! The answer of a scheduling cycle, and its reasons.
//!
//! Must not know how the answer is put on the wire.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::fleet::{FailureCounts, InFlight, Trust};
use crate::id::{EndpointId, PluginName};
use crate::prefix::PrefixMatch;
use crate::request::Attributes;
use crate::schedule::pair::PairExplanation;
use crate::schedule::{Cost, Header, Stage, Uncertainty};

/// One endpoint that was chosen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Target {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Its address.
    pub address: SocketAddr,
    /// How much of the prompt it was believed to hold.
    pub matched: PrefixMatch,
    /// Its weighted score; higher is better.
    pub score: f64,
}

/// The endpoints chosen for one stage: the first serves, the others are its fallbacks, in order.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Leg {
    /// The stage.
    pub stage: Stage,
    /// Never empty.
    pub targets: Vec<Target>,
    /// What it adds to the open work of the first.
    pub cost: Cost,
}

/// Where a request goes: one leg for each stage it needs, all chosen and reserved together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// Never empty; the first leg is the one the request is sent to.
    pub legs: Vec<Leg>,
    /// The port of the chosen endpoint's host that the request is sent to, where that is not the endpoint's own: the
    /// endpoints are data-parallel ranks behind one port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_port: Option<u16>,
    /// Headers that plugins add to the request.
    pub request_headers: Vec<Header>,
    /// Headers that plugins add to its answer.
    pub response_headers: Vec<Header>,
    /// The reasons; shared with the ring of recent decisions.
    pub explanation: Arc<Explanation>,
}

/// Why each candidate was removed or chosen. Kept for the last requests and shown by `murmuration explain`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Explanation {
    /// `x-request-id` of the request.
    pub request_id: String,
    /// The model asked for.
    pub model: String,
    /// Prompt size in tokens.
    pub prompt_tokens: u64,
    /// What producers learned of the request.
    #[serde(skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
    /// Candidates before any filter.
    pub candidates: usize,
    /// Endpoints of the pool that the subset hint left out.
    pub outside_subset: usize,
    /// Endpoints left out because their engine sleeps.
    pub asleep: usize,
    /// Endpoints left out because their listener does not answer.
    pub unreachable: usize,
    /// Endpoints that are avoided because most of their last answers were failures; at most [`REMOVED_MAX`].
    pub failing: Vec<FailingExplanation>,
    /// Saturation of the candidates; `1.0` and more is full.
    pub saturation: f64,
    /// How incomplete the view may have been.
    pub uncertainty: Uncertainty,
    /// How long the request was kept back, so that news of others of the same moment could arrive.
    pub waited: Duration,
    /// Others of the same moment that count as dispatched before it.
    pub others_before: usize,
    /// The profile handler that chose the profiles.
    pub handler: PluginName,
    /// Which stages got endpoints of their own, and why or why not.
    pub verdicts: Vec<VerdictExplanation>,
    /// What was compared, where two stages were chosen together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pair: Option<PairExplanation>,
    /// One per profile that ran.
    pub profiles: Vec<ProfileExplanation>,
}

/// What a decider said about a stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VerdictExplanation {
    /// The stage.
    pub stage: Stage,
    /// The decider's name.
    pub decider: String,
    /// Whether the stage gets an endpoint of its own.
    pub separate: bool,
    /// Why.
    pub reason: String,
}

/// An endpoint that fails most of its requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FailingExplanation {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Its failure counts, such as `12 of 14 in 10 s`.
    pub failures: FailureCounts,
}

/// What one scheduling profile did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ProfileExplanation {
    /// The profile's name.
    pub profile: String,
    /// The stage that it chose endpoints for.
    pub stage: Stage,
    /// Each filter in order, with the endpoints that it removed.
    pub filters: Vec<FilterExplanation>,
    /// Names of the scorers, the columns of every row's `scores`.
    pub scorers: Vec<ScorerName>,
    /// The best rows, best first, at most [`ROWS_MAX`].
    pub rows: Vec<RowExplanation>,
    /// Picked endpoints, the serving one first.
    pub picked: Vec<EndpointId>,
    /// Score of the serving endpoint less that of the best other row.
    pub margin: f64,
}

/// Rows that an explanation keeps of each profile.
pub const ROWS_MAX: usize = 16;
/// Names of removed endpoints that an explanation keeps of each filter.
pub const REMOVED_MAX: usize = 16;

/// What one filter removed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FilterExplanation {
    /// The filter's name.
    pub filter: String,
    /// Candidates that it saw.
    pub before: usize,
    /// Candidates that it left.
    pub after: usize,
    /// The first of those removed.
    pub removed: Vec<EndpointId>,
}

/// A scorer and its weight.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScorerName {
    /// The scorer's name.
    pub scorer: String,
    /// Its weight.
    pub weight: f64,
}

/// One candidate's row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RowExplanation {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The weighted sum.
    pub total: f64,
    /// One score for each scorer, `0..=1`, unweighted.
    pub scores: Vec<f64>,
    /// How much of the prompt it was believed to hold.
    pub matched: PrefixMatch,
    /// Requests waiting, as scored.
    pub waiting: f64,
    /// Requests running, as scored.
    pub running: f64,
    /// KV use, as scored.
    pub kv_usage: f64,
    /// Open work, as scored.
    pub in_flight: InFlight,
    /// Trust in the report.
    pub trust: Trust,
    /// The report's age.
    pub age: Option<Duration>,
    /// The terms of its cost, where a scorer has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<CostTerms>,
}

/// The terms of a cost in prompt tokens: `waiting / speed + uncached * price + context + slower + far`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CostTerms {
    /// Prompt tokens that wait at the endpoint.
    pub waiting: f64,
    /// How fast the endpoint computes prompts, against the mean of all candidates.
    pub speed: f64,
    /// Prompt tokens of the request that the endpoint does not hold.
    pub uncached: f64,
    /// The price of one of these.
    pub price: f64,
    /// Open requests there, whose answers it holds up.
    pub stalled: f64,
    /// What the contexts cost that are read there.
    pub context: f64,
    /// How much more an answer costs there than at the fastest candidate.
    pub slower: f64,
    /// What it costs that the endpoint is in another zone than the caller.
    pub far: f64,
    /// The sum.
    pub cost: f64,
}

// === impl Leg ===

impl Leg {
    /// A leg whose cost is not known yet.
    pub fn new(stage: Stage, targets: Vec<Target>) -> Self {
        Self { stage, targets, cost: Cost::default() }
    }

    /// Addresses in order: the serving endpoint and its fallbacks.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.targets.iter().map(|target| target.address)
    }
}

// === impl Decision ===

impl Decision {
    /// A decision to which no plugin adds headers.
    pub fn new(legs: Vec<Leg>, explanation: Explanation) -> Self {
        let explanation = Arc::new(explanation);
        let (request_headers, response_headers) = (Vec::new(), Vec::new());
        Self { legs, primary_port: None, request_headers, response_headers, explanation }
    }

    /// The leg of `stage`, if it has endpoints of its own.
    pub fn leg(&self, stage: Stage) -> Option<&Leg> {
        self.legs.iter().find(|leg| leg.stage == stage)
    }

    /// llm-d's name for how the request was split: `decode-only`, `prefill-decode`, `encode-decode` or
    /// `encode-prefill-decode`.
    pub fn split(&self) -> &'static str {
        match (self.leg(Stage::Encode).is_some(), self.leg(Stage::Prefill).is_some()) {
            (false, false) => "decode-only",
            (false, true) => "prefill-decode",
            (true, false) => "encode-decode",
            (true, true) => "encode-prefill-decode",
        }
    }

    /// The endpoint the request is sent to.
    pub fn primary(&self) -> Option<&Target> {
        self.legs.first().and_then(|leg| leg.targets.first())
    }

    /// Where the request is sent, in order: the destination and its fallbacks. A rank behind a shared port has none: the
    /// header names one rank, of one host.
    pub fn destinations(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let most = if self.primary_port.is_some() { 1 } else { usize::MAX };
        let addresses = self.legs.first().into_iter().flat_map(Leg::addresses).take(most);
        addresses.map(|address| SocketAddr::new(address.ip(), self.primary_port.unwrap_or(address.port())))
    }

    /// The chosen data-parallel rank, for the sidecar behind the port that the request is sent to.
    pub fn rank(&self) -> Option<SocketAddr> {
        self.primary_port.and(self.primary()).map(|target| target.address)
    }
}
