//! How a run ended, and the line of JSON in which a child process reports it.
//!
//! Must not know invariants beyond their names.

use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::Figures;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// All invariants held.
    Kept,
    /// One was broken.
    Broken {
        /// Its name.
        invariant: String,
        /// Whether it is a recovery invariant.
        recovery: bool,
        /// When, in seconds of virtual time.
        at_s: f64,
        /// The violation, in a sentence.
        how: String,
    },
    /// Something panicked, or the cluster could not be run.
    Crashed {
        /// The message.
        why: String,
    },
}

/// A run as its process reports it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The plan's name.
    pub plan: String,
    /// How it ended.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What was counted.
    pub figures: Figures,
    /// Seconds of real time that the run took.
    pub wall_s: f64,
}

// === impl Verdict ===

impl Verdict {
    /// The exit code: 0 kept, 127 crash, 128 recovery invariant broken, 129 safety invariant broken.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Kept => 0,
            Self::Crashed { .. } => 127,
            Self::Broken { recovery: true, .. } => 128,
            Self::Broken { .. } => 129,
        }
    }

    /// The exit code for a `main`.
    pub fn exit(&self) -> ExitCode {
        ExitCode::from(self.exit_code())
    }

    /// The invariant that was broken.
    pub fn invariant(&self) -> Option<&str> {
        match self {
            Self::Broken { invariant, .. } => Some(invariant),
            Self::Kept | Self::Crashed { .. } => None,
        }
    }

    /// What makes two failures equal: the broken invariant, or `crash`. `None` without a failure.
    pub fn kind(&self) -> Option<&str> {
        match self {
            Self::Kept => None,
            Self::Crashed { .. } => Some("crash"),
            Self::Broken { invariant, .. } => Some(invariant),
        }
    }

    /// A line for people.
    pub fn told(&self) -> String {
        match self {
            Self::Kept => "all invariants kept".to_owned(),
            Self::Crashed { why } => format!("crash: {why}"),
            Self::Broken { invariant, recovery, at_s, how } => {
                let kind = if *recovery { "not recovered" } else { "broken" };
                format!("{invariant} {kind} at {at_s:.3}s: {how}")
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_survives_its_json_form() {
        let broken = Verdict::Broken { invariant: "p".into(), recovery: true, at_s: 1.5, how: "h".into() };
        for verdict in [Verdict::Kept, Verdict::Crashed { why: "w".into() }, broken] {
            let summary = Summary { plan: "seed-1".into(), verdict, figures: Figures::default(), wall_s: 0.25 };
            let line = serde_json::to_string(&summary).unwrap();
            assert_eq!(serde_json::from_str::<Summary>(&line).unwrap(), summary, "{line}");
        }
    }
}
