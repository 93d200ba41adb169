//! `somebody_keeps_watch`.
//!
//! Must not know which replica keeps which engine. Each replica that can't reach an engine may delay its report by one
//! second, until the next in the row takes over.

use std::time::Duration;

use murmuration::replication::keepers::SUCCESSOR_WAIT_MIN;

use super::{About, Broken, Invariant, Scene, broken, names};
use crate::history::{Entry, Phase};
use crate::plan::{Fault, PageFault, Place};

/// From when a successor may report until all replicas have received the report.
const REPORTING: Duration = Duration::from_millis(1_500);

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct SomebodyKeepsWatch;

// === impl SomebodyKeepsWatch ===

impl Invariant for SomebodyKeepsWatch {
    fn about(&self) -> About {
        About::safety(
            "somebody_keeps_watch",
            "on every replica the report of a live engine is at most 1.5 s old, plus 1 s for each replica that can't reach the engine",
        )
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        let Some((replica, snapshot)) = entry.snapshot() else { return Ok(()) };
        if !(Phase::Storm..=Phase::Recovered).contains(&scene.phase()) {
            return Ok(());
        }
        for endpoint in &snapshot.fleet.endpoints {
            let Some(engine) = names::engine(&endpoint.endpoint.id) else { continue };
            let Some((bound, blind)) = bound(engine, scene) else { continue };
            let due = scene.awake_for(replica, bound + REPORTING) && !hampered(engine, bound, scene);
            if due && endpoint.age.is_none_or(|age| age > bound) {
                let (id, age) = (&endpoint.endpoint.id, endpoint.age);
                return broken!(
                    "replica-{replica} has a report of {id} that is {age:?} old, while {blind} replicas can't reach it"
                );
            }
        }
        Ok(())
    }
}

/// How old a report of `engine` may be, and how many replicas can't reach it; `None` if no replica can.
fn bound(engine: usize, scene: &Scene) -> Option<(Duration, usize)> {
    let replicas = scene.plan().cluster.replicas;
    // A replica that could not reach the engine at some time within the longest possible bound counts as blind.
    let longest = REPORTING + SUCCESSOR_WAIT_MIN * replicas as u32;
    let blind = (0..replicas).filter(|replica| is_blind(*replica, engine, longest, scene)).count();
    (blind < replicas).then(|| (REPORTING + SUCCESSOR_WAIT_MIN * blind as u32, blind))
}

fn is_blind(replica: usize, engine: usize, within: Duration, scene: &Scene) -> bool {
    let cluster = &scene.plan().cluster;
    let way =
        |from: Place, to: Place| from.replicas(cluster).contains(&replica) && to.engines(cluster).contains(&engine);
    !scene.awake_for(replica, within) || scene.way_struck(within, way)
}

/// Whether a fault hit the engine, the links between replicas, or discovery within `span`.
fn hampered(engine: usize, span: Duration, scene: &Scene) -> bool {
    let cluster = &scene.plan().cluster;
    let this = |who: &Place| who.engines(cluster).contains(&engine);
    let unwell = scene.feels(span + REPORTING, |fault| match fault {
        fault if fault.kills_engines(cluster).contains(&engine) => true,
        Fault::EngineSlow { who, .. } => this(who),
        Fault::EnginePage { who, page } => this(who) && !matches!(page, PageFault::Stale | PageFault::Lying),
        fault if fault.changes_endpoints() => true,
        _ => false,
    });
    unwell || scene.peer_links_faulty(span + REPORTING)
}

#[cfg(test)]
mod tests {
    use murmuration::fleet::Trust;

    use super::*;
    use crate::history::Fact;
    use crate::invariants::testing::{HistoryBuilder, ms};

    fn with_snapshot(age: u64, faults: Vec<Fault>) -> HistoryBuilder {
        let struck = !faults.is_empty();
        let mut history = HistoryBuilder::with(faults);
        if struck {
            history.at(10_000).world(Fact::FaultBegan(0));
        }
        history.at(20_000).sees(1, |snapshot| {
            snapshot.fleet.endpoints[2].age = Some(ms(age));
            snapshot.fleet.endpoints[2].trust = Trust::Degraded;
        });
        history
    }

    fn cut(from: Place, to: Place) -> Vec<Fault> {
        vec![Fault::Cut { from, to, one_way: false }]
    }

    #[test]
    fn without_faults_reports_are_young() {
        assert_eq!(with_snapshot(1_500, Vec::new()).check(SomebodyKeepsWatch), Ok(()));
        with_snapshot(1_501, Vec::new()).breaks(SomebodyKeepsWatch, "while 0 replicas can't reach it");
    }

    #[test]
    fn each_blind_replica_adds_a_second() {
        let blind = || cut(Place::Replica(0), Place::Engines);
        assert_eq!(with_snapshot(2_500, blind()).check(SomebodyKeepsWatch), Ok(()));
        with_snapshot(2_501, blind()).breaks(SomebodyKeepsWatch, "while 1 replicas can't reach it");
    }

    #[test]
    fn a_report_that_no_replica_can_get_or_send_is_not_missed() {
        assert_eq!(with_snapshot(9_000, cut(Place::Replicas, Place::Engine(2))).check(SomebodyKeepsWatch), Ok(()));
        assert_eq!(with_snapshot(9_000, cut(Place::Replica(0), Place::Replicas)).check(SomebodyKeepsWatch), Ok(()));
        let killed = vec![Fault::EngineKill { who: Place::Engine(2) }];
        assert_eq!(with_snapshot(9_000, killed).check(SomebodyKeepsWatch), Ok(()));
        let other = vec![Fault::EngineKill { who: Place::Engine(1) }];
        with_snapshot(9_000, other).breaks(SomebodyKeepsWatch, "while 0 replicas");
    }
}
