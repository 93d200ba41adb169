//! What a storm must not cost.
//!
//! Must not know how it is measured. Only storms on real processes are held to these: a simulation is held to promises.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::span;

/// The bars of a plan; what is not said is not judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Bars {
    /// Requests that failed, at most. Where replicas see answers, those that a killed replica held do not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<u64>,
    /// The share of requests that failed, at most, held ones left out as above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_share: Option<f64>,
    /// The cached share of prompt tokens during the storm, of the one before it, at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_ratio: Option<f64>,
    /// How long until no peer counts the open work of a replica that is dead or stands still.
    #[serde(with = "span::option", skip_serializing_if = "Option::is_none")]
    pub clean_within: Option<Duration>,
    /// How long after the last fault until every replica sees and follows every other one.
    #[serde(with = "span::option", skip_serializing_if = "Option::is_none")]
    pub heal_within: Option<Duration>,
    /// How long after the last request until all replicas believe the same.
    #[serde(with = "span::option", skip_serializing_if = "Option::is_none")]
    pub equal_within: Option<Duration>,
    /// Whether every replica that lives has to decide something during each cut.
    pub both_sides_serve: bool,
}

// === impl Bars ===

impl Bars {
    /// Whether nothing is judged.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        let share = |field, share: Option<f64>, most: f64| match share {
            Some(share) if !(0.0..=most).contains(&share) => Err((field, format!("must be 0 to {most}, not {share}"))),
            _ => Ok(()),
        };
        share("failed-share", self.failed_share, 1.0)?;
        share("cached-ratio", self.cached_ratio, 2.0)
    }
}
