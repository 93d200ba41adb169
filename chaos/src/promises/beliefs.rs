//! `stale_beliefs_expire`.
//!
//! Must not know scorers: they read the trust, and the trust must be what the age earns, and the age must be true.

use std::time::Duration;

use murmuration::fleet::Trust;

use super::{Broken, Promise, Scene, broken, names};
use crate::chronicle::{Entry, Fact, Witness};
use crate::plan::Fault;

/// What ages may be off by: clocks that drift; and how long a report may lie on a page of gossip, which nobody counts, until it is taken out.
fn at_least(real: Duration) -> Duration {
    (real - real / 20).saturating_sub(Duration::from_millis(750))
}

/// See [`Promise::meaning`].
#[derive(Debug, Default)]
pub(super) struct StaleBeliefsExpire;

// === impl StaleBeliefsExpire ===

impl Promise for StaleBeliefsExpire {
    fn name(&self) -> &'static str {
        "stale_beliefs_expire"
    }

    fn meaning(&self) -> &'static str {
        "a report is trusted by its age alone (exact to 300 ms, nothing after 10 s), and the report of a dead engine is as old as its death"
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        let (Fact::Looked(look), Witness::Replica(replica, _)) = (&entry.fact, entry.by) else { return Ok(()) };
        let town = &scene.plan().town;
        for endpoint in &look.fleet.endpoints {
            let (id, earned) = (&endpoint.endpoint.id, Trust::of_age(endpoint.age));
            if endpoint.trust != earned {
                let (trust, age) = (endpoint.trust, endpoint.age);
                return broken!("replica-{replica} trusts {id} as {} at the age of {age:?}", trust.as_str());
            }
            let engine = names::engine(id);
            let kills = |fault: &Fault| match fault {
                Fault::EngineKill { who } => engine.is_some_and(|engine| who.engines(town).contains(&engine)),
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
    use crate::plan::Place;
    use crate::promises::testing::{Tale, ms, well};

    fn looked(age: u64, trust: Trust) -> Tale {
        let mut tale = Tale::with(vec![Fault::EngineKill { who: Place::Engine(1) }]);
        tale.at(2_000).world(Fact::Struck(0));
        let mut look = well(0);
        look.fleet.endpoints[1].age = Some(ms(age));
        look.fleet.endpoints[1].trust = trust;
        tale.at(4_000).look(0, look);
        tale
    }

    #[test]
    fn trust_is_what_the_age_earns() {
        assert_eq!(looked(10_000, Trust::Degraded).judged(StaleBeliefsExpire), Ok(()));
        looked(10_001, Trust::Degraded).breaks(StaleBeliefsExpire, "as DEGRADED at the age of Some(10.001s)");
    }

    #[test]
    fn nobody_hears_the_dead() {
        assert_eq!(looked(1_150, Trust::Degraded).judged(StaleBeliefsExpire), Ok(()));
        looked(1_149, Trust::Degraded).breaks(StaleBeliefsExpire, "has been dead for 2s");
    }
}
