//! `prefix-cache-scorer`: an endpoint that holds more of the prompt is better.
//!
//! Must not know how matches are found.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::plugin::contract::Scorer;
use crate::plugin::registration::{Invalid, Plugin, Produced, Roles};
use crate::schedule::{Ask, Candidate};

/// llm-d's parameters and defaults.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PrefixCacheParameters {
    /// The name of the `approx-prefix-cache-producer` to use, if it differs from its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_match_info_producer_name: Option<String>,
    /// Weight of the matched length relative to the matched share, 0 to 1.
    pub match_length_weight: f64,
    /// Matched tokens that give the full length score: the `scale`. Above 0 where `matchLengthWeight` is.
    pub match_length_scale_tokens: i64,
}

/// `prefix-cache-scorer`: an endpoint that holds more of the prompt is better. The score is
/// `w * min(1, matched tokens / scale)^2 + (1 - w) * matched share`, with `matchLengthWeight` as `w`.
#[derive(Clone, Debug)]
pub struct PrefixCacheScorer {
    length_weight: f64,
    scale_tokens: f64,
}

// === impl PrefixCacheParameters ===

impl Default for PrefixCacheParameters {
    fn default() -> Self {
        Self { prefix_match_info_producer_name: None, match_length_weight: 0.0, match_length_scale_tokens: 8192 }
    }
}

// === impl PrefixCacheScorer ===

impl Scorer for PrefixCacheScorer {
    fn score(&self, ask: &Ask<'_>, candidates: &[Candidate<'_>], scores: &mut [f64]) {
        let block_tokens = f64::from(ask.request.prompt.chain.block_tokens());
        for (row, score) in candidates.iter().zip(scores) {
            let length = match self.length_weight > 0.0 {
                true => (f64::from(row.matched.blocks) * block_tokens / self.scale_tokens).min(1.0).powi(2),
                false => 0.0,
            };
            *score = self.length_weight * length + (1.0 - self.length_weight) * row.matched.ratio();
        }
    }
}

impl Plugin for PrefixCacheScorer {
    const TYPE: &'static str = "prefix-cache-scorer";
    const READS: &'static [Produced] = &[Produced::PrefixMatch];
    type Parameters = PrefixCacheParameters;

    fn build(parameters: PrefixCacheParameters) -> Result<Self, Invalid> {
        let (weight, scale) = (parameters.match_length_weight, parameters.match_length_scale_tokens);
        if !(0.0..=1.0).contains(&weight) {
            return Err(format!("matchLengthWeight must be within 0 and 1, got {weight}"));
        }
        if weight > 0.0 && scale <= 0 {
            return Err(format!("matchLengthScaleTokens must be above 0 where matchLengthWeight is, got {scale}"));
        }
        Ok(Self { length_weight: weight, scale_tokens: scale as f64 })
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

    fn scored(weight: f64, scale: i64) -> Vec<f64> {
        let parameters = PrefixCacheParameters {
            match_length_weight: weight,
            match_length_scale_tokens: scale,
            ..PrefixCacheParameters::default()
        };
        let endpoints = endpoints(3);
        let mut rows = rows(&endpoints);
        for (row, blocks) in rows.iter_mut().zip([0, 2, 4]) {
            row.matched = PrefixMatch { blocks, of: 4 };
        }
        scores(&PrefixCacheScorer::build(parameters).unwrap(), &request(1, 4), &rows)
    }

    #[test]
    fn by_default_the_score_is_the_matched_share() {
        assert_eq!(scored(0.0, 8192), [0.0, 0.5, 1.0]);
    }

    #[test]
    fn the_matched_length_counts_squared_up_to_its_scale() {
        // Two blocks are 128 tokens: a quarter of 512, squared 1/16.
        assert_eq!(scored(1.0, 512), [0.0, 0.0625, 0.25]);
        assert_eq!(scored(0.5, 128), [0.0, 0.75, 1.0]);
    }

    #[test]
    fn a_prompt_without_blocks_scores_nothing() {
        let endpoints = endpoints(1);
        let scorer = PrefixCacheScorer::build(PrefixCacheParameters::default()).unwrap();
        assert_eq!(scores(&scorer, &request(1, 0), &rows(&endpoints)), [0.0]);
    }

    #[test]
    fn parameters_out_of_range_are_refused_by_name() {
        let build = |match_length_weight, match_length_scale_tokens| {
            let rest = PrefixCacheParameters::default();
            PrefixCacheScorer::build(PrefixCacheParameters { match_length_weight, match_length_scale_tokens, ..rest })
        };
        assert!(build(1.5, 8192).unwrap_err().contains("matchLengthWeight"));
        assert!(build(0.5, 0).unwrap_err().contains("matchLengthScaleTokens"));
        assert!(build(0.0, 0).is_ok());
    }
}
