//! `inflight-load-producer`: what counts as open work.
//!
//! Must not know the ledger.

use serde::{Deserialize, Serialize};

use super::{InFlightSettings, Part};

/// llm-d's parameters and defaults.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Parameters {
    add_estimated_output_tokens: bool,
    output_ratio: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_estimated_output_tokens: Option<u64>,
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
