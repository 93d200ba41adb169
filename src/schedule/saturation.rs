//! How full the pool is (`utilization-detector`), and whether a sheddable request may still come in.
//!
//! Must not know queues or objectives; a priority arrives as a number.
//!
//! llm-d's formula: the mean over endpoints of `max(waiting / queueDepthThreshold, kvUsage / kvCacheUtilThreshold)`; an
//! endpoint with `FALLBACK` trust counts as full.

use crate::config::blueprint::SaturationSettings;
use crate::fleet::Trust;
use crate::schedule::Candidate;

/// Saturation of these rows; `1.0` and more is full. An empty slice counts as full.
pub fn saturation(rows: &[Candidate<'_>], settings: &SaturationSettings) -> f64 {
    if rows.is_empty() {
        return 1.0;
    }
    let full = |row: &Candidate<'_>| match row.trust {
        Trust::Fallback => 1.0,
        Trust::Exact | Trust::Degraded => {
            let queue = row.waiting / settings.queue_depth_threshold;
            queue.max(row.kv_usage / settings.kv_cache_util_threshold)
        }
    };
    rows.iter().map(full).sum::<f64>() / rows.len() as f64
}

/// llm-d's legacy admission: only a request with a priority below zero is shed, and only while the pool is full.
pub fn sheds(priority: i32, saturation: f64) -> bool {
    priority < 0 && saturation >= 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sheddable_requests_are_shed_and_only_from_full_pools() {
        assert!(sheds(-1, 1.0));
        assert!(!sheds(-1, 0.999));
        assert!(!sheds(0, 5.0));
    }

    #[test]
    fn no_rows_count_as_full() {
        let settings = SaturationSettings { queue_depth_threshold: 5.0, kv_cache_util_threshold: 0.8 };
        assert_eq!(saturation(&[], &settings), 1.0);
    }
}
