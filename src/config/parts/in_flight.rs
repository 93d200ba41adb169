//! `inflight-load-producer`: what counts as open work.
//!
//! Must not know the ledger.

use serde::{Deserialize, Serialize};

use super::part::Part;
use crate::config::blueprint::InFlightSettings;

/// llm-d's parameters and defaults.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Parameters {
    /// Whether estimated answer tokens count as in-flight tokens too.
    add_estimated_output_tokens: bool,
    /// Answer tokens for each prompt token in that estimate, 0 or more.
    output_ratio: f64,
    /// Upper bound of that estimate, in tokens. Without it there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_estimated_output_tokens: Option<u64>,
    /// The name of the `approx-prefix-cache-producer` to use, if it differs from its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix_match_info_producer_name: Option<String>,
    /// Accepted and ignored: llm-d shares these counts only where a syncer is configured.
    #[serde(skip_serializing)]
    sync_cross_replica_state: bool,
}

pub(super) fn build(parameters: &mut Parameters) -> Result<Part, String> {
    if parameters.output_ratio < 0.0 {
        return Err(format!("outputRatio must not be negative, got {}", parameters.output_ratio));
    }
    Ok(Part::InFlight(InFlightSettings {
        add_estimated_output_tokens: parameters.add_estimated_output_tokens,
        output_ratio: parameters.output_ratio,
        max_estimated_output_tokens: parameters.max_estimated_output_tokens,
    }))
}

// === impl Parameters ===

impl Default for Parameters {
    fn default() -> Self {
        Self {
            add_estimated_output_tokens: false,
            output_ratio: 1.5,
            max_estimated_output_tokens: None,
            prefix_match_info_producer_name: None,
            sync_cross_replica_state: true,
        }
    }
}
