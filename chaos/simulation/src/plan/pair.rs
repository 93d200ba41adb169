//! What can happen to a pair: a prompt that one engine computes for another one.
//!
//! Must not know how legs are run.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ClusterSpec, Place};

/// A moment in the life of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PairMoment {
    /// An engine computes the prompt for another one.
    Prefilling,
    /// The prompt is computed, and the engine that decodes does not have its KV yet.
    HandingOver,
}

/// What goes wrong with the KV on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransferFault {
    /// The transfer breaks in the middle.
    Fails,
    /// The decode engine is told later where the KV is.
    ToldLate,
    /// The transfer takes longer.
    Slow,
}

// === impl PairMoment ===

impl PairMoment {
    /// Whether `who` can die at this moment: an engine that takes part in it, or the replica that chose the pair.
    pub(super) fn check(self, who: Place, cluster: &ClusterSpec) -> Result<(), String> {
        let takes_part = |engine: &usize| cluster.prefills(*engine) == (self == Self::Prefilling);
        let stage = if self == Self::Prefilling { "prefills" } else { "decodes" };
        match who.engines(cluster).iter().any(takes_part) || !who.replicas(cluster).is_empty() {
            true => Ok(()),
            false => Err(format!("{who} has no replica and no engine that {stage}")),
        }
    }

    /// Its name, as plans write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prefilling => "prefilling",
            Self::HandingOver => "handing-over",
        }
    }
}

impl fmt::Display for PairMoment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_dies_takes_part() {
        let cluster = ClusterSpec { engines: 3, prefillers: 1, ..ClusterSpec::default() };
        let dies = |moment: PairMoment, who| moment.check(who, &cluster).is_ok();
        assert!(dies(PairMoment::Prefilling, Place::Engine(0)) && dies(PairMoment::HandingOver, Place::Engine(1)));
        assert!(!dies(PairMoment::Prefilling, Place::Engine(1)) && !dies(PairMoment::HandingOver, Place::Prefillers));
        assert!(dies(PairMoment::HandingOver, Place::Replica(0)) && !dies(PairMoment::Prefilling, Place::Gateway));
    }
}
