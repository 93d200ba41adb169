//! What is to happen to a town: who lives there, what is asked of it, and what goes wrong when.
//!
//! Must not know who makes it happen: the simulation and the storms on real processes read the same plans. A plan is
//! plain data, so it can be drawn from a seed, printed, edited, shrunk and kept.

mod bars;
mod draw;
mod fault;
mod part;
mod place;
mod span;
mod town;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use bars::Bars;
pub use fault::{Discovery, Fault, Page, Replacement};
pub use part::Part;
pub use place::Place;
pub use town::{ResponsePath, Town, Traffic};

/// Faults of one plan, at most.
pub const FAULTS_MAX: usize = 256;
/// The longest plan.
pub const DURATION_MAX: Duration = Duration::from_secs(3600);

/// A plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Plan {
    /// What people call it; a drawn plan has its seed.
    pub name: String,
    /// What follows from chance follows from this.
    #[serde(default)]
    pub seed: u64,
    /// For how long faults may happen, from when the town serves. Healing comes after it.
    #[serde(with = "span")]
    pub duration: Duration,
    /// Who lives there.
    #[serde(default)]
    pub town: Town,
    /// What is asked.
    #[serde(default)]
    pub traffic: Traffic,
    /// What goes wrong, in any order.
    #[serde(default)]
    pub faults: Vec<Strike>,
    /// What a storm on real processes must not cost.
    #[serde(default, skip_serializing_if = "Bars::is_empty")]
    pub bars: Bars,
}

/// A fault and its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Strike {
    /// When it begins, from when the town serves.
    #[serde(with = "span")]
    pub at: Duration,
    /// How long it lasts. What is dead then starts again, what was cut is whole again. A fault that happens at once (`drain`, `reload`)
    /// says how long its subject stays away.
    #[serde(rename = "for", with = "span")]
    pub lasting: Duration,
    /// What it is.
    #[serde(flatten)]
    pub fault: Fault,
}

/// What is wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// It can't be read.
    #[error("{0}")]
    Unreadable(String),
    /// Somebody in it does not exist, or a number is out of range.
    #[error("{at}: {why}")]
    Impossible {
        /// Where, as a path into the plan.
        at: String,
        /// What is wrong and what would be right.
        why: String,
    },
}

// === impl Plan ===

impl Plan {
    /// Reads a plan in YAML or JSON, which is YAML too; `name` is what errors are told under.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn read(text: &str, name: &str) -> Result<Self, PlanError> {
        let plan: Self =
            serde_saphyr::from_str(text).map_err(|error| PlanError::Unreadable(format!("{name}: {error}")))?;
        plan.check()?;
        Ok(plan)
    }

    /// Whether all that it names exists and all numbers make sense.
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
        self.town.check().or_else(|(at, why)| wrong(&format!("town.{at}"), why))?;
        self.traffic.check().or_else(|(at, why)| wrong(&format!("traffic.{at}"), why))?;
        self.bars.check().or_else(|(at, why)| wrong(&format!("bars.{at}"), why))?;
        for (index, strike) in self.faults.iter().enumerate() {
            if strike.at > self.duration {
                return wrong(&format!("faults[{index}].at"), format!("the plan is over after {:?}", self.duration));
            }
            strike.fault.check(&self.town).or_else(|why| wrong(&format!("faults[{index}]"), why))?;
        }
        Ok(())
    }

    /// The faults in the order in which they begin; those that begin together in the order in which they are written.
    pub fn in_order(&self) -> Vec<&Strike> {
        let mut strikes: Vec<&Strike> = self.faults.iter().collect();
        strikes.sort_by_key(|strike| strike.at);
        strikes
    }
}

// === impl Strike ===

impl Strike {
    /// When it is over, from when the town serves.
    pub fn end(&self) -> Duration {
        self.at + self.lasting
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} +{} {}", span::told(self.at), span::told(self.lasting), self.fault)
    }
}

#[cfg(test)]
mod tests;
