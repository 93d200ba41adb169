//! `stale_beliefs_expire`.
//!
//! Must not know scorers. They read the trust; it must follow from the age, and the age must be true.

use std::time::Duration;

use murmuration::fleet::Trust;

use super::{About, Broken, Invariant, Scene, broken, names};
use crate::history::Entry;
use crate::plan::Fault;

/// Time that is not counted in a report's age: while it lies on a gossip page, or while a cut link holds it back. Then
/// its replica counts as lost after a little more than a second, and what it sent before is not taken in any more.
const UNCOUNTED_MAX: Duration = Duration::from_millis(1_250);

/// The smallest legal age of a report. Clocks drift, too.
fn at_least(real: Duration) -> Duration {
    (real - real / 20).saturating_sub(UNCOUNTED_MAX)
}

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct StaleBeliefsExpire;

// === impl StaleBeliefsExpire ===

impl Invariant for StaleBeliefsExpire {
    fn about(&self) -> About {
        About::safety(
            "stale_beliefs_expire",
            "trust follows from the age of a report alone (exact to 300 ms, none after 10 s), and the report of a dead engine is at least as old as its death",
        )
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        let Some((replica, snapshot)) = entry.snapshot() else { return Ok(()) };
        let cluster = &scene.plan().cluster;
        for endpoint in &snapshot.fleet.endpoints {
            let (id, earned) = (&endpoint.endpoint.id, Trust::of_age(endpoint.age));
            if endpoint.trust != earned {
                let (trust, age) = (endpoint.trust, endpoint.age);
                return broken!("replica-{replica} trusts {id} as {} at the age of {age:?}", trust.as_str());
            }
            let engine = names::engine(id);
            let kills = |fault: &Fault| match fault {
                Fault::EngineKill { who } => engine.is_some_and(|engine| who.engines(cluster).contains(&engine)),
                _ => false,
            };
            if let (Some(died), Some(age)) = (scene.struck_since(kills), endpoint.age) {
                let dead = scene.now().saturating_sub(died);
                if age < at_least(dead) {
                    return broken!(
                        "replica-{replica} has a report of {id} that is {age:?} old; it has been dead for {dead:?}"
                    );
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Fact;
    use crate::invariants::testing::{HistoryBuilder, ms};
    use crate::plan::Place;

    fn with_snapshot(age: u64, trust: Trust) -> HistoryBuilder {
        let mut history = HistoryBuilder::with(vec![Fault::EngineKill { who: Place::Engine(1) }]);
        history.at(2_000).world(Fact::FaultBegan(0));
        history.at(4_000).sees(0, |snapshot| {
            snapshot.fleet.endpoints[1].age = Some(ms(age));
            snapshot.fleet.endpoints[1].trust = trust;
        });
        history
    }

    #[test]
    fn trust_follows_from_the_age() {
        assert_eq!(with_snapshot(10_000, Trust::Degraded).check(StaleBeliefsExpire), Ok(()));
        with_snapshot(10_001, Trust::Degraded).breaks(StaleBeliefsExpire, "as DEGRADED at the age of Some(10.001s)");
    }

    #[test]
    fn no_report_is_younger_than_the_death_of_its_engine() {
        assert_eq!(with_snapshot(650, Trust::Degraded).check(StaleBeliefsExpire), Ok(()));
        with_snapshot(649, Trust::Degraded).breaks(StaleBeliefsExpire, "has been dead for 2s");
    }
}
