//! Scorers: each gives every candidate a score from 0 to 1; higher is better.
//!
//! Must not know weights or other scorers.

pub mod active_request;
pub mod kv_cache_utilization;
pub mod lora_affinity;
pub mod prefill_cost;
pub mod prefix_cache;
pub mod queue;
pub mod running_requests;
pub mod session_affinity;
pub mod token_load;
pub mod topology_affinity;

pub use active_request::ActiveRequestScorer;
pub use kv_cache_utilization::KvCacheUtilizationScorer;
pub use lora_affinity::LoraAffinityScorer;
pub use prefill_cost::PrefillCostScorer;
pub use prefix_cache::PrefixCacheScorer;
pub use queue::QueueScorer;
pub use running_requests::RunningRequestsSizeScorer;
pub use session_affinity::SessionAffinityScorer;
pub use token_load::TokenLoadScorer;
pub use topology_affinity::TopologyAffinityScorer;

use crate::schedule::Candidate;

/// `(max - value) / (max - min)` over the candidates; all get 1 if all values are equal.
fn score_least(candidates: &[Candidate<'_>], scores: &mut [f64], value: impl Fn(&Candidate<'_>) -> f64) {
    let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
    for row in candidates {
        let value = value(row);
        (least, most) = (least.min(value), most.max(value));
    }
    let spread = most - least;
    for (row, score) in candidates.iter().zip(scores) {
        *score = if spread > 0.0 { (most - value(row)) / spread } else { 1.0 };
    }
}
