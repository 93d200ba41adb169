//! Names of models that engines are known to serve.
//!
//! Must not know metrics. A name is known when an engine lists it as an adapter on its page, or returns token usage for
//! a request to it.

use std::collections::BTreeMap;
use std::time::Duration;

use murmuration::scheduler::FleetSummary;
use tokio::time::Instant;

use super::series::{Names, capped};

/// The most names that are remembered.
const NAMES_MAX: usize = 4_096;
/// How long a name is remembered after its last mention.
const QUIET_MAX: Duration = Duration::from_secs(3_600);

/// The names, and when each was last mentioned.
#[derive(Debug, Default)]
pub(super) struct ServedNames(BTreeMap<String, Instant>);

// === impl ServedNames ===

impl ServedNames {
    /// An engine mentioned `name`.
    pub(super) fn record(&mut self, name: &str, now: Instant) {
        let name = capped(name);
        if let Some(mentioned) = self.0.get_mut(name) {
            *mentioned = now;
        } else if self.0.len() < NAMES_MAX {
            self.0.insert(name.to_owned(), now);
        }
    }

    /// Adds the names of all engines' adapters, and removes names without a mention for [`QUIET_MAX`].
    pub(super) fn told_by(&mut self, fleet: &FleetSummary, now: Instant) {
        self.0.retain(|_, mentioned| now.duration_since(*mentioned) <= QUIET_MAX);
        let reports = fleet.endpoints.iter().filter_map(|endpoint| endpoint.report.as_ref());
        for adapters in reports.filter_map(|report| report.adapters.as_ref()) {
            for name in adapters.running.iter().chain(&adapters.waiting) {
                self.record(name, now);
            }
        }
    }

    /// Whether engines serve both names.
    pub(super) fn holds(&self, names: &Names) -> bool {
        self.0.contains_key(&names.target) && self.0.contains_key(&names.model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_served_while_engines_mention_it() {
        let began = Instant::now();
        let mut served = ServedNames::default();
        served.record("base", began);
        assert!(served.holds(&Names::new("base", "base")));
        assert!(!served.holds(&Names::new("base", "made-up")) && !served.holds(&Names::new("made-up", "base")));
        let fleet = FleetSummary {
            endpoints: Vec::new(),
            tickets: Default::default(),
            index_bytes: 0,
            sessions: 0,
            peers: Vec::new(),
        };
        served.told_by(&fleet, began + QUIET_MAX + Duration::from_secs(1));
        assert!(!served.holds(&Names::new("base", "base")));
    }

    #[test]
    fn names_are_bounded() {
        let mut served = ServedNames::default();
        for at in 0..2 * NAMES_MAX {
            served.record(&at.to_string(), Instant::now());
        }
        assert_eq!(served.0.len(), NAMES_MAX);
    }
}
