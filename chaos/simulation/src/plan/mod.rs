//! Plans: the size of a cluster, its traffic, and which faults happen when.
//!
//! Must not know how a plan is executed: the simulation and the storms on real processes read the same plans. A plan is
//! plain data, so it can be drawn from a seed, printed, edited, shrunk and kept.

mod bars;
mod cluster;
mod draw;
mod fault;
mod pair;
mod part;
mod place;
mod span;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use bars::Bars;
pub use cluster::{ClusterSpec, ResponsePath, Traffic};
pub use fault::{Discovery, Fault, Replacement};
pub use murmuration_engine_sim::http::PageFault;
pub use pair::{PairMoment, TransferFault};
pub use part::Part;
pub use place::Place;

/// The largest number of faults in a plan.
pub const FAULTS_MAX: usize = 256;
/// The longest duration of a plan.
pub const DURATION_MAX: Duration = Duration::from_secs(3600);

/// A plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Plan {
    /// The name; that of a drawn plan contains its seed.
    pub name: String,
    /// The seed of all random numbers of a run.
    #[serde(default)]
    pub seed: u64,
    /// How long faults may happen, counted from when the cluster serves. Recovery comes after it.
    #[serde(with = "span")]
    pub duration: Duration,
    /// The cluster.
    #[serde(default)]
    pub cluster: ClusterSpec,
    /// The traffic.
    #[serde(default)]
    pub traffic: Traffic,
    /// The faults, in any order.
    #[serde(default)]
    pub faults: Vec<ScheduledFault>,
    /// Limits for a storm on real processes.
    #[serde(default, skip_serializing_if = "Bars::is_empty")]
    pub bars: Bars,
}

/// A fault and its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ScheduledFault {
    /// When it begins, counted from when the cluster serves.
    #[serde(with = "span")]
    pub at: Duration,
    /// How long it lasts. Afterwards a killed replica or engine restarts, and a cut link is restored. A drained replica
    /// stays away for this time.
    #[serde(rename = "for", with = "span")]
    pub lasting: Duration,
    /// The fault.
    #[serde(flatten)]
    pub fault: Fault,
}

/// Why a plan is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// It cannot be parsed.
    #[error("{0}")]
    Unreadable(String),
    /// A place in it does not exist, or a number is out of range.
    #[error("{at}: {why}")]
    Impossible {
        /// Where, as a path into the plan.
        at: String,
        /// What is wrong, and what would be right.
        why: String,
    },
}

// === impl Plan ===

impl Plan {
    /// Reads a plan in YAML or JSON, which is YAML too. Parse errors start with `name`.
    ///
    /// # Errors
    /// If it cannot be parsed or is invalid; the first problem.
    pub fn read(text: &str, name: &str) -> Result<Self, PlanError> {
        let plan: Self =
            serde_saphyr::from_str(text).map_err(|error| PlanError::Unreadable(format!("{name}: {error}")))?;
        plan.check()?;
        Ok(plan)
    }

    /// Checks that all places exist and all numbers are in range.
    ///
    /// # Errors
    /// [`PlanError::Impossible`].
    pub fn check(&self) -> Result<(), PlanError> {
        let wrong = |at: &str, why: String| Err(PlanError::Impossible { at: at.to_owned(), why });
        if self.duration > DURATION_MAX {
            return wrong("duration", format!("a plan lasts {DURATION_MAX:?} at most"));
        }
        if self.faults.len() > FAULTS_MAX {
            return wrong("faults", format!("a plan has {FAULTS_MAX} faults at most"));
        }
        self.cluster.check().or_else(|(at, why)| wrong(&format!("cluster.{at}"), why))?;
        self.traffic.check().or_else(|(at, why)| wrong(&format!("traffic.{at}"), why))?;
        self.bars.check().or_else(|(at, why)| wrong(&format!("bars.{at}"), why))?;
        for (index, strike) in self.faults.iter().enumerate() {
            if strike.at > self.duration {
                return wrong(&format!("faults[{index}].at"), format!("the plan is over after {:?}", self.duration));
            }
            strike.fault.check(&self.cluster).or_else(|why| wrong(&format!("faults[{index}]"), why))?;
        }
        Ok(())
    }
}

// === impl ScheduledFault ===

impl ScheduledFault {
    /// When it ends, counted from when the cluster serves.
    pub fn end(&self) -> Duration {
        self.at + self.lasting
    }
}

impl fmt::Display for ScheduledFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} +{} {}", span::told(self.at), span::told(self.lasting), self.fault)
    }
}

#[cfg(test)]
mod tests;
