//! Two stages chosen together: which endpoint decodes, and which one prefills for it, if any does.
//!
//! Must not know how pairs are priced; a profile handler does that.

use serde::Serialize;

use crate::id::EndpointId;

/// Pairs that an explanation keeps.
pub const PAIRS_MAX: usize = 8;

/// The choice of a profile handler among the endpoints of two stages.
#[derive(Clone, Debug, PartialEq)]
pub struct Paired {
    /// Which of the candidates for decoding serves.
    pub decode: usize,
    /// What it costs, in prompt tokens that somebody waits for.
    pub cost: f64,
    /// Which of the candidates for prefill compute the prompt for it, with their cost: the best first, then those that
    /// may stand in. Empty where the one that decodes computes it.
    pub prefill: Vec<(usize, f64)>,
    /// Why, in one sentence.
    pub reason: String,
    /// The best of what was compared.
    pub explanation: PairExplanation,
}

/// The best of what was compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PairExplanation {
    /// Endpoints that may decode.
    pub decoders: usize,
    /// Endpoints that may prefill.
    pub prefillers: usize,
    /// The best ones, the chosen first, at most [`PAIRS_MAX`]: for each endpoint that decodes its best pair, and itself
    /// alone.
    pub rows: Vec<PairRow>,
}

/// One way to serve a request.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairRow {
    /// The endpoint that decodes.
    pub decode: EndpointId,
    /// The one that prefills for it; `None` if it computes the prompt itself.
    pub prefill: Option<EndpointId>,
    /// Its price.
    pub terms: PairTerms,
}

/// What a way to serve a request costs all requests, in prompt tokens that somebody waits for: `waiting +
/// uncached * price + hand_off + moved * move_price + link + between + answers + context + short + far`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PairTerms {
    /// Prompt tokens that wait where the prompt is computed.
    pub waiting: f64,
    /// Prompt tokens of the request to compute there.
    pub uncached: f64,
    /// The price of one of these.
    pub price: f64,
    /// What the hand-over from one endpoint to the other takes, whatever its size.
    pub hand_off: f64,
    /// Tokens whose KV is moved.
    pub moved: f64,
    /// The price of one of these.
    pub move_price: f64,
    /// Transfers before this one, as tokens that could be computed meanwhile.
    pub link: f64,
    /// Prompts of others that are computed between the steps of the answer.
    pub between: f64,
    /// The answers beside this one, each of which makes all steps longer.
    pub answers: f64,
    /// The contexts that are read there.
    pub context: f64,
    /// Tokens that the KV cache has no room for.
    pub short: f64,
    /// What it costs that the endpoint that decodes is in another zone than the caller.
    pub far: f64,
    /// The sum.
    pub cost: f64,
}
