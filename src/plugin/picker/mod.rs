//! Pickers: each picks the serving endpoint and its fallbacks from the scored candidates.
//!
//! Must not know where the scores came from.

mod equals;
mod fallbacks;
pub mod max_score;
pub mod random;
pub mod weighted_random;

pub use max_score::MaxScorePicker;
pub use random::RandomPicker;
pub use weighted_random::WeightedRandomPicker;

use serde::{Deserialize, Serialize};

use self::fallbacks::Wanted;
use crate::plugin::registration::Invalid;

/// The parameters of every picker.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PickerParameters {
    /// How many endpoints are picked: the serving one, and fallbacks that Envoy may use instead. Zero means one.
    pub max_num_of_endpoints: i64,
    /// Whether fallbacks are taken from other zones than the endpoints before them, as long as there are other zones.
    /// So a request whose zone is lost is tried again in another one.
    pub fallbacks_in_other_zones: bool,
}

// === impl PickerParameters ===

impl Default for PickerParameters {
    fn default() -> Self {
        Self { max_num_of_endpoints: 1, fallbacks_in_other_zones: false }
    }
}

impl PickerParameters {
    fn wanted(&self) -> Result<Wanted, Invalid> {
        match usize::try_from(self.max_num_of_endpoints) {
            Ok(0 | 1) if self.fallbacks_in_other_zones => {
                Err("fallbacksInOtherZones needs a maxNumOfEndpoints of 2 or more".to_owned())
            }
            Ok(count) => Ok(Wanted { count: count.max(1), in_other_zones: self.fallbacks_in_other_zones }),
            Err(_) => Err(format!("maxNumOfEndpoints must not be negative, got {}", self.max_num_of_endpoints)),
        }
    }
}
