//! What a leg costs its endpoint, in tokens.
//!
//! Must not know how open work is kept or shared.

use serde::Serialize;

use crate::fleet::InFlight;
use crate::prefix::PrefixMatch;
use crate::request::InferenceRequest;
use crate::schedule::Stage;

/// The open work that a leg adds to its endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Whether the endpoint computes the prompt.
    pub prefills: bool,
    /// Prompt tokens to compute, until the first token. They include the estimated tokens of the answer if the
    /// configuration counts those as load.
    pub prefill_tokens: u64,
    /// Estimated tokens of the answer, until the request ends.
    pub decode_tokens: u64,
    /// Prompt tokens whose KV comes from the endpoint that computes them, until the first token.
    pub incoming_tokens: u64,
}

/// `inflight-load-producer`.
#[derive(Clone, Debug, PartialEq)]
pub struct InFlightSettings {
    /// Whether estimated answer tokens count too.
    pub add_estimated_output_tokens: bool,
    /// Answer tokens for each prompt token, in that estimate.
    pub output_ratio: f64,
    /// Upper bound of that estimate.
    pub max_estimated_output_tokens: Option<u64>,
}

// === impl Cost ===

impl Cost {
    /// The cost of a leg on an endpoint that holds `matched` of the prompt. `split` says that another endpoint computes
    /// the prompt for the one that decodes.
    pub fn of(
        stage: Stage,
        split: bool,
        matched: PrefixMatch,
        request: &InferenceRequest,
        settings: &InFlightSettings,
    ) -> Self {
        let uncached = request.prompt.uncached(matched.blocks);
        let answer = (settings.counted_output(request), settings.estimated_output(request));
        let (prefills, prefill_tokens, decode_tokens, incoming_tokens) = match stage {
            Stage::Decode if split => (false, answer.0, answer.1, uncached),
            Stage::Decode => (true, uncached.saturating_add(answer.0), answer.1, 0),
            Stage::Prefill => (true, uncached, 0, 0),
            Stage::Encode => (false, 0, 0, 0),
        };
        Self { prefills, prefill_tokens, decode_tokens, incoming_tokens }
    }

    /// The same as open work of one request.
    pub fn share(self) -> InFlight {
        let Self { prefills, prefill_tokens, decode_tokens, incoming_tokens } = self;
        InFlight { requests: 1, prefills: prefills.into(), prefill_tokens, decode_tokens, incoming_tokens }
    }
}

// === impl InFlightSettings ===

impl InFlightSettings {
    /// Estimated tokens of the answer that count as load; `0` unless the configuration counts them.
    pub fn counted_output(&self, request: &InferenceRequest) -> u64 {
        if self.add_estimated_output_tokens { self.estimated_output(request) } else { 0 }
    }

    /// Estimated tokens of the answer.
    pub fn estimated_output(&self, request: &InferenceRequest) -> u64 {
        // The cast saturates, and a negative ratio is refused by the configuration.
        let estimate = (request.prompt.tokens as f64 * self.output_ratio) as u64;
        estimate
            .min(self.max_estimated_output_tokens.unwrap_or(u64::MAX))
            .min(request.max_output_tokens.unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::testing::request;

    #[test]
    fn each_stage_costs_its_own_work() {
        let mut request = request(1, 10);
        request.max_output_tokens = Some(100);
        let settings = InFlightSettings {
            add_estimated_output_tokens: true,
            output_ratio: 1.5,
            max_estimated_output_tokens: None,
        };
        let matched = PrefixMatch { blocks: 4, of: 10 };
        let cost = |stage, split| {
            let share = Cost::of(stage, split, matched, &request, &settings).share();
            (share.prefills, share.prefill_tokens, share.decode_tokens, share.incoming_tokens)
        };
        assert_eq!(cost(Stage::Decode, false), (1, 6 * 64 + 100, 100, 0));
        assert_eq!(cost(Stage::Decode, true), (0, 100, 100, 6 * 64), "the prompt is computed elsewhere");
        assert_eq!(cost(Stage::Prefill, true), (1, 6 * 64, 0, 0));
        assert_eq!(cost(Stage::Encode, true), (0, 0, 0, 0));
    }
}
