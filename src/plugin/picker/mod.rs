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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::plugin::registration::Plugin;
    use crate::plugin::testing::{endpoint, picked, request, rows};

    #[test]
    fn every_picker_takes_fallbacks_from_other_zones_when_told_to() {
        let zone = |i: usize| ["a", "b"][i / 6];
        let endpoints: Vec<_> =
            (0..12).map(|i| endpoint(&format!("e{i}"), &[("topology.kubernetes.io/zone", zone(i))])).collect();
        let rows = rows(&endpoints);
        // The first zone's endpoints are all better.
        let totals: Vec<f64> = (0..12).map(|i| 1.0 - i as f64 / 20.0).collect();
        let told = || PickerParameters { max_num_of_endpoints: 2, fallbacks_in_other_zones: true };
        let not_told = || PickerParameters { max_num_of_endpoints: 2, fallbacks_in_other_zones: false };
        let apart = |chosen: Vec<usize>| chosen.len() == 2 && zone(chosen[0]) != zone(chosen[1]);
        let all_apart = |parameters: &dyn Fn() -> PickerParameters, seed| {
            let request = request(seed, 1);
            [
                picked(&MaxScorePicker::build(parameters()).unwrap(), &request, &rows, &totals),
                picked(&RandomPicker::build(parameters()).unwrap(), &request, &rows, &totals),
                picked(&WeightedRandomPicker::build(parameters()).unwrap(), &request, &rows, &totals),
            ]
            .map(apart)
        };
        assert!((0..50).all(|seed| all_apart(&told, seed) == [true; 3]));
        assert!((0..50).all(|seed| !all_apart(&not_told, seed)[0]));
    }

    #[test]
    fn fallbacks_in_other_zones_without_fallbacks_are_a_mistake() {
        for count in [0, 1] {
            let parameters = PickerParameters { max_num_of_endpoints: count, fallbacks_in_other_zones: true };
            assert!(MaxScorePicker::build(parameters).unwrap_err().contains("maxNumOfEndpoints of 2"));
        }
    }
}
