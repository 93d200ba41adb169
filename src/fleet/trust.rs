//! How far a belief about an endpoint can be trusted.
//!
//! Must not know why a report is late; only how late it is.

use std::time::Duration;

use serde::Serialize;

/// The trust state of an endpoint's load, shown in metrics and explanations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Trust {
    /// Reports come as they should.
    Exact,
    /// The last report is old: it counts less, the older it is.
    Degraded,
    /// No report, or one too old to mean anything: only what was dispatched from here counts.
    Fallback,
}

/// Up to this age a report is taken at its word.
pub const EXACT_AGE_MAX: Duration = Duration::from_millis(300);
/// Beyond this age a report is no longer used.
pub const DEGRADED_AGE_MAX: Duration = Duration::from_secs(10);

// === impl Trust ===

impl Trust {
    /// The trust that an age earns; `None` means that there never was a report.
    pub fn of_age(age: Option<Duration>) -> Self {
        match age {
            Some(age) if age <= EXACT_AGE_MAX => Self::Exact,
            Some(age) if age <= DEGRADED_AGE_MAX => Self::Degraded,
            _ => Self::Fallback,
        }
    }

    /// The spelling used in metrics, logs and explanations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "EXACT",
            Self::Degraded => "DEGRADED",
            Self::Fallback => "FALLBACK",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_changes_exactly_at_its_borders() {
        let tick = Duration::from_micros(1);
        assert_eq!(Trust::of_age(Some(EXACT_AGE_MAX)), Trust::Exact);
        assert_eq!(Trust::of_age(Some(EXACT_AGE_MAX + tick)), Trust::Degraded);
        assert_eq!(Trust::of_age(Some(DEGRADED_AGE_MAX)), Trust::Degraded);
        assert_eq!(Trust::of_age(Some(DEGRADED_AGE_MAX + tick)), Trust::Fallback);
        assert_eq!(Trust::of_age(None), Trust::Fallback);
    }
}
