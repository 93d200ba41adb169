//! `engines_are_known_again`.
//!
//! Must not know how a report reaches a replica.

use murmuration::fleet::Trust;

use super::{About, Broken, Invariant, RECOVERY, Scene, broken};
use crate::history::{Entry, Phase};

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct EnginesAreKnownAgain;

// === impl EnginesAreKnownAgain ===

impl Invariant for EnginesAreKnownAgain {
    fn about(&self) -> About {
        About::recovery(
            "engines_are_known_again",
            "from 2 s after the storm on, every replica knows every engine, reaches it, and has a report of it that is not too old to count",
        )
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        let Some((replica, snapshot)) = entry.snapshot() else { return Ok(()) };
        if !scene.settled(Phase::Recovery, RECOVERY) {
            return Ok(());
        }
        let (known, all) = (snapshot.fleet.endpoints.len(), scene.plan().cluster.engines);
        if known != all {
            return broken!("replica-{replica} knows {known} of {all} engines");
        }
        let well = |trust: Trust, reachable: bool| reachable && trust != Trust::Fallback;
        match snapshot.fleet.endpoints.iter().find(|endpoint| !well(endpoint.trust, endpoint.reachable)) {
            Some(endpoint) if endpoint.reachable => {
                broken!(
                    "replica-{replica} has no report of {} that counts: its age is {:?}",
                    endpoint.endpoint.id,
                    endpoint.age
                )
            }
            Some(endpoint) => broken!("replica-{replica} considers {} unreachable", endpoint.endpoint.id),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Snapshot;
    use crate::invariants::testing::HistoryBuilder;

    type Damage = fn(&mut Snapshot);

    fn with_snapshot(at: u64, damage: Damage) -> HistoryBuilder {
        let mut history = HistoryBuilder::calm();
        history.phase(10_000, Phase::Recovery).at(at).sees(0, damage);
        history
    }

    #[test]
    fn engines_are_known_two_seconds_after_the_storm() {
        let damages: [(Damage, &str); 3] = [
            (|snapshot| drop(snapshot.fleet.endpoints.pop()), "knows 3 of 4 engines"),
            (|snapshot| snapshot.fleet.endpoints[1].reachable = false, "considers town/engine-1 unreachable"),
            (|snapshot| snapshot.fleet.endpoints[1].trust = Trust::Fallback, "no report of town/engine-1 that counts"),
        ];
        for (damage, words) in damages {
            assert_eq!(with_snapshot(11_999, damage).check(EnginesAreKnownAgain), Ok(()));
            with_snapshot(12_000, damage).breaks(EnginesAreKnownAgain, words);
        }
        assert_eq!(with_snapshot(12_000, |_| {}).check(EnginesAreKnownAgain), Ok(()));
    }
}
