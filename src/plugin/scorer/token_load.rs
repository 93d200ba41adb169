//! `token-load-scorer`: fewer prompt tokens to compute, including this request's, are better.
//!
//! Must not know how in-flight tokens are counted.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::plugin::contract::Scorer;
use crate::plugin::registration::{Invalid, Plugin, Roles};
use crate::schedule::{Ask, Candidate};

/// 128 requests of 32K tokens.
const DEFAULT_QUEUE_THRESHOLD_TOKENS: i64 = 4_194_304;

/// llm-d's parameters and defaults.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct TokenLoadParameters {
    /// Prompt tokens from which an endpoint scores 0. Zero means the default.
    pub queue_threshold_tokens: i64,
    /// The name of the `inflight-load-producer` to use, if it differs from its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight_load_producer_name: Option<String>,
}

/// `token-load-scorer`: fewer prompt tokens to compute, including this request's, are better. The score is
/// `1 - min(tokens, threshold) / threshold`.
#[derive(Clone, Debug)]
pub struct TokenLoadScorer {
    threshold: f64,
}

// === impl TokenLoadParameters ===

impl Default for TokenLoadParameters {
    fn default() -> Self {
        Self { queue_threshold_tokens: DEFAULT_QUEUE_THRESHOLD_TOKENS, in_flight_load_producer_name: None }
    }
}

// === impl TokenLoadScorer ===

impl Scorer for TokenLoadScorer {
    fn score(&self, ask: &Ask<'_>, candidates: &[Candidate<'_>], scores: &mut [f64]) {
        for (row, score) in candidates.iter().zip(scores) {
            let tokens = row.in_flight.prefill_tokens.saturating_add(row.uncached_tokens(ask)) as f64;
            *score = 1.0 - tokens.min(self.threshold) / self.threshold;
        }
    }
}

impl Plugin for TokenLoadScorer {
    const TYPE: &'static str = "token-load-scorer";
    type Parameters = TokenLoadParameters;

    fn build(parameters: TokenLoadParameters) -> Result<Self, Invalid> {
        match parameters.queue_threshold_tokens {
            0 => Ok(Self { threshold: DEFAULT_QUEUE_THRESHOLD_TOKENS as f64 }),
            tokens if tokens > 0 => Ok(Self { threshold: tokens as f64 }),
            tokens => Err(format!("queueThresholdTokens must not be negative, got {tokens}")),
        }
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::scorer(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::plugin::testing::{endpoints, request, rows, scores};
    use crate::prefix::PrefixMatch;

    fn build(queue_threshold_tokens: i64) -> Result<TokenLoadScorer, Invalid> {
        TokenLoadScorer::build(TokenLoadParameters { queue_threshold_tokens, ..TokenLoadParameters::default() })
    }

    #[test]
    fn in_flight_tokens_and_the_requests_uncached_tokens_count() {
        let endpoints = endpoints(4);
        let mut rows = rows(&endpoints);
        // The request has 4 blocks of 64 tokens.
        rows[1].in_flight.prefill_tokens = 256;
        rows[2].matched = PrefixMatch { blocks: 4, of: 4 };
        rows[3].in_flight.prefill_tokens = u64::MAX;
        assert_eq!(scores(&build(1024).unwrap(), &request(1, 4), &rows), [0.75, 0.5, 1.0, 0.0]);
    }

    #[test]
    fn zero_means_the_default_and_less_is_refused() {
        assert_eq!(build(0).unwrap().threshold, 4_194_304.0);
        assert!(build(-1).unwrap_err().contains("queueThresholdTokens"));
    }
}
