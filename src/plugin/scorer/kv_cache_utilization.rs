//! `kv-cache-utilization-scorer`: a KV cache with more free space is better.
//!
//! Must not know what fills the cache.

use std::sync::Arc;

use crate::plugin::contract::Scorer;
use crate::plugin::registration::{Invalid, NoParameters, Plugin, Produced, Roles};
use crate::schedule::{Ask, Candidate};

/// `kv-cache-utilization-scorer`: a KV cache with more free space is better. The score is the free share.
#[derive(Clone, Copy, Debug)]
pub struct KvCacheUtilizationScorer;

// === impl KvCacheUtilizationScorer ===

impl Scorer for KvCacheUtilizationScorer {
    fn score(&self, _: &Ask<'_>, candidates: &[Candidate<'_>], scores: &mut [f64]) {
        for (row, score) in candidates.iter().zip(scores) {
            *score = 1.0 - row.kv_usage;
        }
    }
}

impl Plugin for KvCacheUtilizationScorer {
    const TYPE: &'static str = "kv-cache-utilization-scorer";
    const READS: &'static [Produced] = &[];
    type Parameters = NoParameters;

    fn build(_: NoParameters) -> Result<Self, Invalid> {
        Ok(Self)
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::scorer(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::testing::{endpoints, request, rows, scores};

    #[test]
    fn the_score_is_the_free_share_of_the_cache() {
        let endpoints = endpoints(3);
        let mut rows = rows(&endpoints);
        for (row, usage) in rows.iter_mut().zip([0.0, 0.25, 1.0]) {
            row.kv_usage = usage;
        }
        assert_eq!(scores(&KvCacheUtilizationScorer, &request(1, 0), &rows), [1.0, 0.75, 0.0]);
    }
}
