//! `somebody_keeps_watch`.
//!
//! Must not know who keeps what: whoever stands before the first replica that can see an engine has a second each to be missed.

use std::time::Duration;

use murmuration::replication::keepers::HEIR_WAITS;

use super::{Broken, Promise, Scene, broken, names};
use crate::chronicle::{Entry, Fact, Phase, Witness};
use crate::plan::{Fault, Page, Place};

/// From when an successor may speak to when all have heard it.
const TELLING: Duration = Duration::from_millis(1_500);

/// See [`Promise::meaning`].
#[derive(Debug, Default)]
pub(super) struct SomebodyKeepsWatch;

// === impl SomebodyKeepsWatch ===

impl Promise for SomebodyKeepsWatch {
    fn name(&self) -> &'static str {
        "somebody_keeps_watch"
    }

    fn meaning(&self) -> &'static str {
        "the report of an engine that lives is at most 1.5 s old everywhere, and 1 s more for each replica that can't see it"
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        let (Fact::Looked(look), Witness::Replica(replica, _)) = (&entry.fact, entry.by) else { return Ok(()) };
        if !(Phase::Storm..=Phase::Healed).contains(&scene.phase()) {
            return Ok(());
        }
        for endpoint in &look.fleet.endpoints {
            let Some(engine) = names::engine(&endpoint.endpoint.id) else { continue };
            let Some((bound, blind)) = bound(engine, scene) else { continue };
            let told = scene.awake_for(replica, bound + TELLING) && !hampered(engine, bound, scene);
            if told && endpoint.age.is_none_or(|age| age > bound) {
                let (id, age) = (&endpoint.endpoint.id, endpoint.age);
                return broken!(
                    "replica-{replica} has a report of {id} that is {age:?} old, while {blind} replicas can't see it"
                );
            }
        }
        Ok(())
    }
}

/// How old a report of `engine` may be, and how many replicas can't see it; `None` when none can.
fn bound(engine: usize, scene: &Scene) -> Option<(Duration, usize)> {
    let replicas = scene.plan().town.replicas;
    // Who was blind within the longest bound there can be counts as blind.
    let longest = TELLING + HEIR_WAITS * replicas as u32;
    let blind = (0..replicas).filter(|replica| is_blind(*replica, engine, longest, scene)).count();
    (blind < replicas).then(|| (TELLING + HEIR_WAITS * blind as u32, blind))
}

fn is_blind(replica: usize, engine: usize, within: Duration, scene: &Scene) -> bool {
    let town = &scene.plan().town;
    let way = |from: Place, to: Place| from.replicas(town).contains(&replica) && to.engines(town).contains(&engine);
    !scene.awake_for(replica, within) || scene.way_struck(within, way)
}

/// Whether the engine itself was unwell within `span`, or what replicas say to each other, or what discovery says.
fn hampered(engine: usize, span: Duration, scene: &Scene) -> bool {
    let town = &scene.plan().town;
    let this = |who: &Place| who.engines(town).contains(&engine);
    let unwell = scene.feels(span + TELLING, |fault| match fault {
        Fault::EngineKill { who } | Fault::EngineSlow { who, .. } => this(who),
        Fault::EnginePage { who, page } => this(who) && !matches!(page, Page::Stale | Page::Lying),
        fault if fault.changes_endpoints() => true,
        _ => false,
    });
    unwell || scene.talk_struck(span + TELLING)
}

#[cfg(test)]
mod tests {
    use murmuration::fleet::Trust;

    use super::*;
    use crate::promises::testing::{Tale, ms, well};

    fn looked(age: u64, faults: Vec<Fault>) -> Tale {
        let struck = !faults.is_empty();
        let mut tale = Tale::with(faults);
        if struck {
            tale.at(10_000).world(Fact::Struck(0));
        }
        let mut look = well(1);
        look.fleet.endpoints[2].age = Some(ms(age));
        look.fleet.endpoints[2].trust = Trust::Degraded;
        tale.at(20_000).look(1, look);
        tale
    }

    fn cut(from: Place, to: Place) -> Vec<Fault> {
        vec![Fault::Cut { from, to, one_way: false }]
    }

    #[test]
    fn in_fair_weather_reports_are_young() {
        assert_eq!(looked(1_500, Vec::new()).judged(SomebodyKeepsWatch), Ok(()));
        looked(1_501, Vec::new()).breaks(SomebodyKeepsWatch, "while 0 replicas can't see it");
    }

    #[test]
    fn each_that_is_blind_has_a_second_to_be_missed() {
        let blind = || cut(Place::Replica(0), Place::Engines);
        assert_eq!(looked(2_500, blind()).judged(SomebodyKeepsWatch), Ok(()));
        looked(2_501, blind()).breaks(SomebodyKeepsWatch, "while 1 replicas can't see it");
    }

    #[test]
    fn what_nobody_can_see_or_say_is_not_missed() {
        assert_eq!(looked(9_000, cut(Place::Replicas, Place::Engine(2))).judged(SomebodyKeepsWatch), Ok(()));
        assert_eq!(looked(9_000, cut(Place::Replica(0), Place::Replicas)).judged(SomebodyKeepsWatch), Ok(()));
        let killed = vec![Fault::EngineKill { who: Place::Engine(2) }];
        assert_eq!(looked(9_000, killed).judged(SomebodyKeepsWatch), Ok(()));
        let other = vec![Fault::EngineKill { who: Place::Engine(1) }];
        looked(9_000, other).breaks(SomebodyKeepsWatch, "while 0 replicas");
    }
}
