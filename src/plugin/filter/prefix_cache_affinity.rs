//! `prefix-cache-affinity-filter`: keeps the endpoints that hold the prompt, unless waiting for them costs too much.
//!
//! Must not know how matches or in-flight tokens are counted.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::chance::{Chance, mix};
use crate::plugin::contract::Filter;
use crate::plugin::registration::{Invalid, Plugin, Roles};
use crate::schedule::{Ask, Candidate};

/// llm-d's parameters and defaults.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PrefixCacheAffinityParameters {
    /// Share of the prompt that an endpoint must hold to be kept, at most 1. Zero or less keeps all endpoints.
    pub affinity_threshold: f64,
    /// Probability that a request keeps all endpoints, 0 to 1. Equal requests draw alike.
    pub exploration_probability: f64,
    /// Milliseconds that the first token may come later than on the best other endpoint. Zero is no limit.
    #[serde(rename = "maxTTFTPenaltyMs")]
    pub max_ttft_penalty_ms: f64,
    /// Where the time to first token comes from.
    pub ttft_source: TtftSource,
    /// Prompt tokens that an engine computes per second, above 0. It turns in-flight prompt tokens into a wait.
    pub peak_prefill_throughput: f64,
    /// The name of the `approx-prefix-cache-producer` to use, if it differs from its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_match_info_producer_name: Option<String>,
    /// Known to llm-d and not here yet; refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_prediction_info_producer_name: Option<String>,
    /// The name of the `inflight-load-producer` to use, if it differs from its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight_load_producer_name: Option<String>,
}

/// Where the time to first token comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TtftSource {
    /// In-flight tokens divided by `peakPrefillThroughput`.
    PrefillThroughput,
    /// A latency predictor; known to llm-d and not here yet.
    LatencyPredictor,
}

/// `prefix-cache-affinity-filter`: keeps the endpoints that hold most of the prompt. It keeps all where none does, and
/// where the first token would come too much later than on the best other endpoint.
#[derive(Clone, Debug)]
pub struct PrefixCacheAffinityFilter {
    parameters: PrefixCacheAffinityParameters,
}

/// Separates the random numbers of exploration from those of the pickers, which are seeded by the same content.
const EXPLORATION_SALT: u64 = 0x6578_706c_6f72_6500;

// === impl PrefixCacheAffinityParameters ===

impl Default for PrefixCacheAffinityParameters {
    fn default() -> Self {
        Self {
            affinity_threshold: 0.80,
            exploration_probability: 0.0,
            max_ttft_penalty_ms: 18_000.0,
            ttft_source: TtftSource::PrefillThroughput,
            peak_prefill_throughput: 15_928.0,
            prefix_match_info_producer_name: None,
            latency_prediction_info_producer_name: None,
            in_flight_load_producer_name: None,
        }
    }
}

// === impl PrefixCacheAffinityFilter ===

impl Filter for PrefixCacheAffinityFilter {
    fn filter(&self, ask: &Ask<'_>, candidates: &[Candidate<'_>], keep: &mut [bool]) {
        if candidates.len() <= 1 || self.parameters.affinity_threshold <= 0.0 || self.explores(ask) {
            return;
        }
        let is_sticky = |row: &Candidate<'_>| row.matched.ratio() >= self.parameters.affinity_threshold;
        let best = |sticky: bool| {
            let waits = candidates.iter().filter(|row| is_sticky(row) == sticky).map(|row| self.wait_ms(row));
            waits.min_by(f64::total_cmp)
        };
        let Some(best_sticky) = best(true) else { return };
        let most = self.parameters.max_ttft_penalty_ms;
        if most > 0.0 && best(false).is_some_and(|best_other| best_sticky - best_other > most) {
            return;
        }
        for (row, keep) in candidates.iter().zip(keep) {
            *keep = is_sticky(row);
        }
    }
}

impl PrefixCacheAffinityFilter {
    /// Seeded by the request's content, so that equal requests explore alike and a decision can be replayed.
    fn explores(&self, ask: &Ask<'_>) -> bool {
        let mut chance = Chance::from_seed(mix(ask.request.content_hash ^ EXPLORATION_SALT));
        chance.unit() < self.parameters.exploration_probability
    }

    fn wait_ms(&self, row: &Candidate<'_>) -> f64 {
        row.in_flight.prefill_tokens as f64 / self.parameters.peak_prefill_throughput * 1000.0
    }
}

impl Plugin for PrefixCacheAffinityFilter {
    const TYPE: &'static str = "prefix-cache-affinity-filter";
    type Parameters = PrefixCacheAffinityParameters;

    fn build(parameters: PrefixCacheAffinityParameters) -> Result<Self, Invalid> {
        let p = &parameters;
        if p.affinity_threshold > 1.0 {
            return Err(format!("affinityThreshold must be at most 1, got {}", p.affinity_threshold));
        }
        if !(0.0..=1.0).contains(&p.exploration_probability) {
            return Err(format!("explorationProbability must be within 0 and 1, got {}", p.exploration_probability));
        }
        if p.max_ttft_penalty_ms < 0.0 {
            return Err(format!("maxTTFTPenaltyMs must not be negative, got {}", p.max_ttft_penalty_ms));
        }
        if p.peak_prefill_throughput <= 0.0 {
            return Err(format!("peakPrefillThroughput must be above 0, got {}", p.peak_prefill_throughput));
        }
        if p.ttft_source == TtftSource::LatencyPredictor || p.latency_prediction_info_producer_name.is_some() {
            return Err(
                "ttftSource: the latency predictor is known to llm-d and not here yet; use `prefillThroughput` \
                        and no `latencyPredictionInfoProducerName`"
                    .to_owned(),
            );
        }
        Ok(Self { parameters })
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::filter(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::fleet::Endpoint;
    use crate::plugin::testing::{endpoints, kept, request, rows};
    use crate::prefix::PrefixMatch;

    fn build(change: impl FnOnce(&mut PrefixCacheAffinityParameters)) -> Result<PrefixCacheAffinityFilter, Invalid> {
        let mut parameters = PrefixCacheAffinityParameters::default();
        change(&mut parameters);
        PrefixCacheAffinityFilter::build(parameters)
    }

    /// `e0` holds 8 of 10 blocks, `e1` 7, `e2` none.
    fn warm(endpoints: &[Endpoint]) -> Vec<Candidate<'_>> {
        let mut rows = rows(endpoints);
        for (row, blocks) in rows.iter_mut().zip([8, 7, 0]) {
            row.matched = PrefixMatch { blocks, of: 10 };
        }
        rows
    }

    #[test]
    fn only_endpoints_at_the_threshold_are_kept() {
        let endpoints = endpoints(3);
        let filter = build(|_| {}).unwrap();
        assert_eq!(kept(&filter, &request(1, 10), &warm(&endpoints)), ["e0"]);
    }

    #[test]
    fn a_cold_prompt_keeps_all_endpoints() {
        let endpoints = endpoints(3);
        let filter = build(|_| {}).unwrap();
        assert_eq!(kept(&filter, &request(1, 10), &rows(&endpoints)).len(), 3);
    }

    #[test]
    fn stickiness_ends_just_beyond_the_penalty() {
        let endpoints = endpoints(3);
        let filter = build(|p| (p.peak_prefill_throughput, p.max_ttft_penalty_ms) = (1000.0, 500.0)).unwrap();
        let mut rows = warm(&endpoints);
        rows[0].in_flight.prefill_tokens = 500;
        assert_eq!(kept(&filter, &request(1, 10), &rows), ["e0"]);
        rows[0].in_flight.prefill_tokens = 501;
        assert_eq!(kept(&filter, &request(1, 10), &rows).len(), 3);
        // The difference to the best other endpoint counts.
        (rows[1].in_flight.prefill_tokens, rows[2].in_flight.prefill_tokens) = (1, 900);
        assert_eq!(kept(&filter, &request(1, 10), &rows), ["e0"]);
        let always = build(|p| (p.peak_prefill_throughput, p.max_ttft_penalty_ms) = (1000.0, 0.0)).unwrap();
        rows[0].in_flight.prefill_tokens = 1_000_000;
        assert_eq!(kept(&always, &request(1, 10), &rows), ["e0"]);
    }

    #[test]
    fn exploration_has_its_probability_and_equal_requests_explore_alike() {
        let endpoints = endpoints(3);
        let filter = build(|p| p.exploration_probability = 0.25).unwrap();
        let rows = warm(&endpoints);
        let explored = (0..1000).filter(|&seed| kept(&filter, &request(seed, 10), &rows).len() == 3).count();
        assert!((200..300).contains(&explored), "{explored}");
        assert_eq!(kept(&filter, &request(5, 10), &rows), kept(&filter, &request(5, 10), &rows));
    }

    #[test]
    fn parameters_out_of_range_are_refused_by_name() {
        assert!(build(|p| p.affinity_threshold = 80.0).unwrap_err().contains("affinityThreshold"));
        assert!(build(|p| p.exploration_probability = -0.1).unwrap_err().contains("explorationProbability"));
        assert!(build(|p| p.max_ttft_penalty_ms = -1.0).unwrap_err().contains("maxTTFTPenaltyMs"));
        assert!(build(|p| p.peak_prefill_throughput = 0.0).unwrap_err().contains("peakPrefillThroughput"));
        assert!(build(|p| p.ttft_source = TtftSource::LatencyPredictor).unwrap_err().contains("not here yet"));
    }
}
