//! `engines_are_known_again`.
//!
//! Must not know how a report travels.

use murmuration::fleet::Trust;

use super::{Broken, HEALING, Kind, Promise, Scene, broken};
use crate::chronicle::{Entry, Fact, Phase, Witness};

/// See [`Promise::meaning`].
#[derive(Debug, Default)]
pub(super) struct EnginesAreKnownAgain;

// === impl EnginesAreKnownAgain ===

impl Promise for EnginesAreKnownAgain {
    fn name(&self) -> &'static str {
        "engines_are_known_again"
    }

    fn meaning(&self) -> &'static str {
        "2 s after the storm every replica knows every engine, reaches it, and has a report of it that is not too old to count"
    }

    fn kind(&self) -> Kind {
        Kind::Healing
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        let (Fact::Looked(look), Witness::Replica(replica, _)) = (&entry.fact, entry.by) else { return Ok(()) };
        if !scene.settled(Phase::Healing, HEALING) {
            return Ok(());
        }
        let (known, all) = (look.fleet.endpoints.len(), scene.plan().town.engines);
        if known != all {
            return broken!("replica-{replica} knows {known} of {all} engines");
        }
        let well = |trust: Trust, reachable: bool| reachable && trust != Trust::Fallback;
        match look.fleet.endpoints.iter().find(|endpoint| !well(endpoint.trust, endpoint.reachable)) {
            Some(endpoint) if endpoint.reachable => {
                broken!(
                    "replica-{replica} has no report of {} that counts: its age is {:?}",
                    endpoint.endpoint.id,
                    endpoint.age
                )
            }
            Some(endpoint) => broken!("replica-{replica} takes {} for unreachable", endpoint.endpoint.id),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chronicle::Look;
    use crate::promises::testing::{Tale, well};

    type Spoil = fn(&mut Look);

    fn looked(at: u64, spoil: Spoil) -> Tale {
        let mut tale = Tale::calm();
        let mut look = well(0);
        spoil(&mut look);
        tale.phase(10_000, Phase::Healing).at(at).look(0, look);
        tale
    }

    #[test]
    fn what_the_storm_took_is_back_after_two_seconds() {
        let spoils: [(Spoil, &str); 3] = [
            (|look| drop(look.fleet.endpoints.pop()), "knows 3 of 4 engines"),
            (|look| look.fleet.endpoints[1].reachable = false, "town/engine-1 for unreachable"),
            (|look| look.fleet.endpoints[1].trust = Trust::Fallback, "no report of town/engine-1 that counts"),
        ];
        for (spoil, words) in spoils {
            assert_eq!(looked(11_999, spoil).judged(EnginesAreKnownAgain), Ok(()));
            looked(12_000, spoil).breaks(EnginesAreKnownAgain, words);
        }
        assert_eq!(looked(12_000, |_| {}).judged(EnginesAreKnownAgain), Ok(()));
    }
}
