//! Limits on what a storm may cost.
//!
//! Must not know how costs are measured. Only storms on real processes are checked against them; a simulation is
//! checked by invariants.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::span;

/// The limits of a plan. One that is absent is not checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Bars {
    /// Failed requests, at most. Requests that a killed engine held do not count; nor, if replicas see responses, those
    /// that a killed replica held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<u64>,
    /// The share of failed requests, at most, without held ones as above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_share: Option<f64>,
    /// The cached share of prompt tokens during the storm, relative to the share before it, at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_ratio: Option<f64>,
    /// How long peers may count the open work of a replica after it was killed or frozen.
    #[serde(with = "span::option", skip_serializing_if = "Option::is_none")]
    pub clean_within: Option<Duration>,
    /// How long after the last fault every replica must see and follow every other one, at most.
    #[serde(with = "span::option", skip_serializing_if = "Option::is_none")]
    pub heal_within: Option<Duration>,
    /// How long after the last request the views of all replicas must be equal, at most.
    #[serde(with = "span::option", skip_serializing_if = "Option::is_none")]
    pub equal_within: Option<Duration>,
    /// Whether every running replica must make a decision during each cut.
    pub both_sides_serve: bool,
}

// === impl Bars ===

impl Bars {
    /// Whether there is no limit.
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
