//! `utilization-detector`: when a pool counts as full.
//!
//! Must not know where the answer is used.

use serde::{Deserialize, Serialize};

use super::part::Part;
use crate::config::blueprint::SaturationSettings;
use crate::config::duration;

/// The only accepted staleness: llm-d's default. Here trust decreases with a report's age instead.
const STALENESS: &str = "200ms";

/// llm-d's parameters and defaults.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Parameters {
    /// Waiting requests at which an endpoint counts as full, above 0.
    queue_depth_threshold: u32,
    /// KV-cache use at which an endpoint counts as full, above 0 and at most 1.
    kv_cache_util_threshold: f64,
    /// Only `200ms` is accepted. A report counts the less the older it is.
    #[serde(skip_serializing)]
    metrics_staleness_threshold: String,
    /// Accepted and ignored: it only matters where the detector is used as a filter.
    #[serde(skip_serializing)]
    headroom: f64,
}

pub(super) fn build(parameters: &mut Parameters) -> Result<Part, String> {
    let p = &*parameters;
    if p.queue_depth_threshold == 0 {
        return Err("queueDepthThreshold must be above 0".to_owned());
    }
    if !(p.kv_cache_util_threshold > 0.0 && p.kv_cache_util_threshold <= 1.0) {
        return Err(format!("kvCacheUtilThreshold must be above 0 and at most 1, got {}", p.kv_cache_util_threshold));
    }
    let staleness = duration::read(&p.metrics_staleness_threshold);
    if staleness.map_err(|why| format!("metricsStalenessThreshold: {why}"))? != std::time::Duration::from_millis(200) {
        let why = "metricsStalenessThreshold: another one than 200ms is known to llm-d and not here yet";
        return Err(format!("{why}; leave it out: a report counts the less the older it is"));
    }
    if p.headroom < 0.0 {
        return Err(format!("headroom must not be negative, got {}", p.headroom));
    }
    Ok(Part::Saturation(SaturationSettings {
        queue_depth_threshold: f64::from(p.queue_depth_threshold),
        kv_cache_util_threshold: p.kv_cache_util_threshold,
    }))
}

// === impl Parameters ===

impl Default for Parameters {
    fn default() -> Self {
        Self {
            queue_depth_threshold: 5,
            kv_cache_util_threshold: 0.8,
            metrics_staleness_threshold: STALENESS.to_owned(),
            headroom: 0.0,
        }
    }
}
