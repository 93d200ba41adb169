//! Whether others send work to the same engines although nothing is heard of them: the engines' own reports tell.
//!
//! Must not know peers. A replica that hears nobody is either the last one left or cut off, and decides otherwise in each
//! case; what engines say they have, less what was sent from here, tells which.

use crate::fleet::{Fleet, LoadReport, Trust};
use crate::time::Timestamp;

/// Weight of one look; some thirty looks settle it.
const LOOK: f64 = 1.0 / 32.0;
/// From this share of the engines' requests on, others are at work. Half of one of two replicas.
const AT_WORK: f64 = 0.25;

/// The share of the engines' requests that came from elsewhere.
#[derive(Debug)]
pub(super) struct ForeignTraffic {
    share: f64,
}

// === impl ForeignTraffic ===

impl ForeignTraffic {
    /// Nobody has looked yet: others are thought to be there.
    pub(super) fn new() -> Self {
        Self { share: 1.0 }
    }

    /// Looks at all reports that are exact at `now`.
    pub(super) fn look(&mut self, fleet: &Fleet, now: Timestamp) {
        let (mut all, mut strange) = (0u64, 0u64);
        for (_, entry) in fleet.iter().filter(|(_, entry)| entry.trust(now) == Trust::Exact) {
            let Some(said) = entry.report().and_then(LoadReport::unfinished).map(u64::from) else { continue };
            all += said;
            strange += said.saturating_sub(u64::from(entry.in_flight.requests));
        }
        if all > 0 {
            self.share += LOOK * (strange as f64 / all as f64 - self.share);
        }
    }

    /// Whether others are at work.
    pub(super) fn at_work(&self) -> bool {
        self.share >= AT_WORK
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::fleet::Observation;
    use crate::plugin::testing::endpoint;

    /// A fleet of one whose engine says that it runs `running` requests, `own` of which were sent from here.
    fn fleet(running: u32, own: u32) -> Fleet {
        let mut fleet = Fleet::default();
        let endpoint = endpoint("e", &[]);
        let id = endpoint.id.clone();
        fleet.upsert(endpoint, &mut Vec::new());
        let report = LoadReport { running, awake: true, ..LoadReport::default() };
        let slot = fleet.observe(&id, Observation { report, age: Default::default() }, Timestamp::ZERO).unwrap();
        (0..own).for_each(|_| assert!(fleet.reserve(slot, 1, 1, Timestamp::ZERO).is_some()));
        fleet
    }

    fn at_work(foreign_traffic: &mut ForeignTraffic, fleet: &Fleet, now: Timestamp) -> bool {
        (0..100).for_each(|_| foreign_traffic.look(fleet, now));
        foreign_traffic.at_work()
    }

    #[test]
    fn what_engines_have_and_nobody_here_sent_is_the_work_of_strangers() {
        let mut foreign_traffic = ForeignTraffic::new();
        assert!(foreign_traffic.at_work(), "until something is seen");
        assert!(!at_work(&mut foreign_traffic, &fleet(8, 8), Timestamp::ZERO));
        assert!(at_work(&mut foreign_traffic, &fleet(8, 4), Timestamp::ZERO));
        assert!(!at_work(&mut foreign_traffic, &fleet(8, 9), Timestamp::ZERO), "more was sent than is reported yet");
    }

    #[test]
    fn idle_engines_and_old_reports_say_nothing() {
        let mut foreign_traffic = ForeignTraffic::new();
        assert!(at_work(&mut foreign_traffic, &fleet(0, 0), Timestamp::ZERO));
        assert!(at_work(&mut foreign_traffic, &fleet(8, 8), Timestamp::from_millis(60_000)));
    }
}
