//! `probabilistic-admitter`: sheds ever more of the sheddable requests as the pool fills.
//!
//! llm-d's rule: a request with a priority below zero is rejected with the probability
//! `min(saturation ^ power * k, 1)`. The draw follows from the request's id and content, so every replica that sees the
//! same rows gives the same verdict, and a retry under another id draws again. Must not know how rows were measured.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::chance::Chance;
use crate::plugin::contract::Admission;
use crate::plugin::registration::{Invalid, Plugin, Produced, Roles};
use crate::schedule::saturation::{SaturationSettings, saturation};
use crate::schedule::{Ask, Candidate};

/// llm-d's parameters and defaults.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ProbabilisticAdmitterParameters {
    /// Waiting requests that count as full.
    pub queue_depth_threshold: u32,
    /// KV use that counts as full, above `0`.
    pub kv_cache_util_threshold: f64,
    /// How steep shedding begins, above `0`.
    pub power: f64,
    /// All sheddable requests are rejected from the saturation `(1 / k) ^ (1 / power)` on; above `0`.
    pub k: f64,
}

/// `probabilistic-admitter`: rejects ever more of the requests with a priority below 0 as the pool fills, with the
/// probability `min(saturation ^ power * k, 1)`.
#[derive(Clone, Debug)]
pub struct ProbabilisticAdmitter {
    settings: SaturationSettings,
    power: f64,
    k: f64,
}

// === impl ProbabilisticAdmitterParameters ===

impl Default for ProbabilisticAdmitterParameters {
    fn default() -> Self {
        Self { queue_depth_threshold: 5, kv_cache_util_threshold: 0.8, power: 5.0, k: 300.0 }
    }
}

// === impl ProbabilisticAdmitter ===

impl Admission for ProbabilisticAdmitter {
    fn admit(&self, ask: &Ask<'_>, candidates: &[Candidate<'_>], chance: &mut Chance) -> Result<(), String> {
        if ask.request.priority >= 0 || candidates.is_empty() {
            return Ok(());
        }
        let saturation = saturation(candidates, &self.settings);
        let probability = (saturation.powf(self.power) * self.k).min(1.0);
        if chance.unit() < probability {
            let sentence = "sheddable request dropped: saturation";
            return Err(format!("{sentence} {saturation:.3}, shed with probability {probability:.2}"));
        }
        Ok(())
    }
}

impl Plugin for ProbabilisticAdmitter {
    const TYPE: &'static str = "probabilistic-admitter";
    const READS: &'static [Produced] = &[];
    type Parameters = ProbabilisticAdmitterParameters;

    fn build(p: ProbabilisticAdmitterParameters) -> Result<Self, Invalid> {
        if p.queue_depth_threshold == 0 {
            return Err("queueDepthThreshold must be above 0".to_owned());
        }
        let kv = p.kv_cache_util_threshold;
        for (name, value) in [("kvCacheUtilThreshold", kv), ("power", p.power), ("k", p.k)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(format!("{name} must be above 0, got {value}"));
            }
        }
        let queue_depth_threshold = f64::from(p.queue_depth_threshold);
        let settings = SaturationSettings { queue_depth_threshold, kv_cache_util_threshold: kv };
        Ok(Self { settings, power: p.power, k: p.k })
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::admission(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::plugin::testing::{endpoints, request, rows};

    /// The share of sheddable requests that is rejected while each endpoint uses this much of its KV cache.
    fn shed(kv_usage: f64, priority: i32) -> f64 {
        let admitter = ProbabilisticAdmitter::build(ProbabilisticAdmitterParameters::default()).unwrap();
        let endpoints = endpoints(3);
        let mut rows = rows(&endpoints);
        rows.iter_mut().for_each(|row| row.kv_usage = kv_usage);
        let rejected = (0..2_000u64).filter(|&seed| {
            let mut request = request(seed, 1);
            request.priority = priority;
            admitter.admit(&Ask::sure(&request), &rows, &mut Chance::from_seed(seed)).is_err()
        });
        rejected.count() as f64 / 2_000.0
    }

    #[test]
    fn sheddable_requests_are_shed_along_llm_ds_curve() {
        // Saturation 0.15, 0.2, 0.3 and 0.35: 2.3 %, 9.6 %, 73 % and all, by llm-d's own table.
        for (saturation, share) in [(0.0, 0.0), (0.15, 0.023), (0.2, 0.096), (0.3, 0.73), (0.35, 1.0)] {
            let shed = shed(saturation * 0.8, -1);
            assert!((shed - share).abs() < 0.03, "{saturation}: {shed}");
        }
    }

    #[test]
    fn other_requests_are_always_admitted() {
        assert_eq!(shed(1.0, 0), 0.0);
    }

    #[test]
    fn parameters_that_mean_nothing_are_refused_by_name() {
        let wrong = |change: fn(&mut ProbabilisticAdmitterParameters)| {
            let mut parameters = ProbabilisticAdmitterParameters::default();
            change(&mut parameters);
            ProbabilisticAdmitter::build(parameters).unwrap_err()
        };
        assert!(wrong(|p| p.queue_depth_threshold = 0).starts_with("queueDepthThreshold"));
        assert!(wrong(|p| p.kv_cache_util_threshold = 0.0).starts_with("kvCacheUtilThreshold"));
        assert!(wrong(|p| p.power = f64::NAN).starts_with("power"));
        assert!(wrong(|p| p.k = -1.0).starts_with("k must"));
    }
}
