//! How a run ended, and the one line of JSON that a process tells another.
//!
//! Must not know promises beyond their names.

use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::Figures;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// All promises were kept.
    Kept,
    /// One was broken.
    Broken {
        /// Which.
        promise: String,
        /// Whether it is one of healing.
        healing: bool,
        /// When, in seconds of virtual time.
        at_s: f64,
        /// How.
        how: String,
    },
    /// Something panicked, or the town could not be run.
    Crashed {
        /// What it said.
        why: String,
    },
}

/// A run as its process tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The plan's name.
    pub plan: String,
    /// How it ended.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What was counted.
    pub figures: Figures,
    /// Seconds that it took here.
    pub wall_s: f64,
}

// === impl Verdict ===

impl Verdict {
    /// The exit code: 0 kept, 127 crash, 128 liveness, 129 safety.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Kept => 0,
            Self::Crashed { .. } => 127,
            Self::Broken { healing: true, .. } => 128,
            Self::Broken { .. } => 129,
        }
    }

    /// The same for a `main`.
    pub fn exit(&self) -> ExitCode {
        ExitCode::from(self.exit_code())
    }

    /// The promise that was broken.
    pub fn promise(&self) -> Option<&str> {
        match self {
            Self::Broken { promise, .. } => Some(promise),
            Self::Kept | Self::Crashed { .. } => None,
        }
    }

    /// What makes two failures the same: the promise, or that it was a crash. `None` when all was well.
    pub fn kind(&self) -> Option<&str> {
        match self {
            Self::Kept => None,
            Self::Crashed { .. } => Some("crash"),
            Self::Broken { promise, .. } => Some(promise),
        }
    }

    /// A line for people.
    pub fn told(&self) -> String {
        match self {
            Self::Kept => "all promises kept".to_owned(),
            Self::Crashed { why } => format!("crash: {why}"),
            Self::Broken { promise, healing, at_s, how } => {
                let kind = if *healing { "not healed" } else { "broken" };
                format!("{promise} {kind} at {at_s:.3}s: {how}")
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_survives_the_way_between_processes() {
        let broken = Verdict::Broken { promise: "p".into(), healing: true, at_s: 1.5, how: "h".into() };
        for verdict in [Verdict::Kept, Verdict::Crashed { why: "w".into() }, broken] {
            let summary = Summary { plan: "seed-1".into(), verdict, figures: Figures::default(), wall_s: 0.25 };
            let line = serde_json::to_string(&summary).unwrap();
            assert_eq!(serde_json::from_str::<Summary>(&line).unwrap(), summary, "{line}");
        }
    }
}
