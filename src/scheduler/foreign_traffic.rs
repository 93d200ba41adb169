//! Detects traffic from replicas that this one has no contact with, by the engines' own reports.
//!
//! Must not know peers. A replica without peers is either the last one left or cut off, and decides differently in each
//! case. The requests that engines report, less those sent from here, show which it is.

use crate::fleet::{Fleet, LoadReport, Trust};
use crate::time::Timestamp;

/// Weight of one sample; some thirty samples settle the estimate.
const SAMPLE_WEIGHT: f64 = 1.0 / 32.0;
/// From this share of the engines' requests on, other replicas are active. Half of what one of two replicas sends.
const FOREIGN_SHARE_MIN: f64 = 0.25;

/// The estimated share of the engines' requests that were not sent from here.
#[derive(Debug)]
pub(super) struct ForeignTraffic {
    share: f64,
}

// === impl ForeignTraffic ===

impl ForeignTraffic {
    /// Before the first sample, other replicas are assumed to be active.
    pub(super) fn new() -> Self {
        Self { share: 1.0 }
    }

    /// Takes a sample of all reports that are exact at `now`.
    pub(super) fn update(&mut self, fleet: &Fleet, now: Timestamp) {
        let (mut all, mut foreign) = (0u64, 0u64);
        for (_, entry) in fleet.iter().filter(|(_, entry)| entry.trust(now) == Trust::Exact) {
            let Some(unfinished) = entry.report().and_then(LoadReport::unfinished).map(u64::from) else { continue };
            all += unfinished;
            foreign += unfinished.saturating_sub(u64::from(entry.in_flight.requests));
        }
        if all > 0 {
            self.share += SAMPLE_WEIGHT * (foreign as f64 / all as f64 - self.share);
        }
    }

    /// Whether other replicas are active.
    pub(super) fn is_active(&self) -> bool {
        self.share >= FOREIGN_SHARE_MIN
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::fleet::{InFlight, Observation};
    use crate::plugin::testing::endpoint;

    /// A fleet of one whose engine reports `running` running requests, `own` of which were sent from here.
    fn fleet(running: u32, own: u32) -> Fleet {
        let mut fleet = Fleet::default();
        let endpoint = endpoint("e", &[]);
        let id = endpoint.id.clone();
        fleet.upsert(endpoint, &mut Vec::new());
        let report = LoadReport { running, awake: true, ..LoadReport::default() };
        let slot = fleet.observe(&id, Observation { report, age: Default::default() }, Timestamp::ZERO).unwrap();
        let share = InFlight { requests: 1, ..InFlight::default() };
        (0..own).for_each(|_| assert!(fleet.reserve(slot, share, Timestamp::ZERO).is_some()));
        fleet
    }

    fn is_active(foreign_traffic: &mut ForeignTraffic, fleet: &Fleet, now: Timestamp) -> bool {
        (0..100).for_each(|_| foreign_traffic.update(fleet, now));
        foreign_traffic.is_active()
    }

    #[test]
    fn requests_that_were_not_sent_from_here_are_foreign_traffic() {
        let mut foreign_traffic = ForeignTraffic::new();
        assert!(foreign_traffic.is_active(), "until the first sample");
        assert!(!is_active(&mut foreign_traffic, &fleet(8, 8), Timestamp::ZERO));
        assert!(is_active(&mut foreign_traffic, &fleet(8, 4), Timestamp::ZERO));
        assert!(!is_active(&mut foreign_traffic, &fleet(8, 9), Timestamp::ZERO), "more was sent than is reported yet");
    }

    #[test]
    fn idle_engines_and_old_reports_say_nothing() {
        let mut foreign_traffic = ForeignTraffic::new();
        assert!(is_active(&mut foreign_traffic, &fleet(0, 0), Timestamp::ZERO));
        assert!(is_active(&mut foreign_traffic, &fleet(8, 8), Timestamp::from_millis(60_000)));
    }
}
