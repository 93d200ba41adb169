//! Pickers: each picks the serving endpoint and its fallbacks from the scored candidates.
//!
//! Must not know where the scores came from.

mod equals;
pub mod max_score;
pub mod random;
pub mod weighted_random;

pub use max_score::MaxScorePicker;
pub use random::RandomPicker;
pub use weighted_random::WeightedRandomPicker;

use serde::{Deserialize, Serialize};

use crate::plugin::registration::Invalid;

/// The parameters of every picker.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PickerParameters {
    /// How many endpoints are picked: the serving one, and fallbacks that Envoy may use instead. Zero means one.
    pub max_num_of_endpoints: i64,
}

// === impl PickerParameters ===

impl Default for PickerParameters {
    fn default() -> Self {
        Self { max_num_of_endpoints: 1 }
    }
}

impl PickerParameters {
    fn count(&self) -> Result<usize, Invalid> {
        match usize::try_from(self.max_num_of_endpoints) {
            Ok(count) => Ok(count.max(1)),
            Err(_) => Err(format!("maxNumOfEndpoints must not be negative, got {}", self.max_num_of_endpoints)),
        }
    }
}
