//! `everyone_is_seen`.
//!
//! Must not know the membership protocol.

use super::{About, Broken, Invariant, RECOVERY, Scene, broken};
use crate::history::{Entry, Phase, Snapshot};

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct EveryoneIsSeen;

/// The live replicas that this one does not see.
pub(crate) fn missing(replica: usize, snapshot: &Snapshot, scene: &Scene) -> Vec<String> {
    let others = scene.living().filter(|other| *other != replica).map(|other| format!("replica-{other}"));
    others.filter(|other| !snapshot.members.contains_key(other)).collect()
}

// === impl EveryoneIsSeen ===

impl Invariant for EveryoneIsSeen {
    fn about(&self) -> About {
        About::recovery(
            "everyone_is_seen",
            "from 2 s after the storm on, every live replica is ready and sees every other live one",
        )
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        let Some((replica, snapshot)) = entry.snapshot() else { return Ok(()) };
        if !scene.settled(Phase::Recovery, RECOVERY) {
            return Ok(());
        }
        let missing = missing(replica, snapshot, scene);
        if !missing.is_empty() {
            return broken!("replica-{replica} does not see {}", missing.join(", "));
        }
        match snapshot.ready {
            true => Ok(()),
            false => broken!("replica-{replica} is not ready"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Fact;
    use crate::invariants::testing::{HistoryBuilder, well};

    fn with_snapshot(at: u64, snapshot: Snapshot) -> HistoryBuilder {
        let mut history = HistoryBuilder::calm();
        history.phase(10_000, Phase::Recovery).at(at).snapshot(0, snapshot);
        history
    }

    #[test]
    fn two_seconds_after_the_storm_all_are_seen() {
        let mut partial = well(0);
        partial.members.remove("replica-2");
        assert_eq!(with_snapshot(11_999, partial.clone()).check(EveryoneIsSeen), Ok(()));
        with_snapshot(12_000, partial).breaks(EveryoneIsSeen, "replica-0 does not see replica-2");
        with_snapshot(12_000, Snapshot { ready: false, ..well(0) }).breaks(EveryoneIsSeen, "not ready");
        assert_eq!(with_snapshot(12_000, well(0)).check(EveryoneIsSeen), Ok(()));
    }

    #[test]
    fn the_dead_need_not_be_seen() {
        let mut partial = well(0);
        partial.members.remove("replica-2");
        let mut history = HistoryBuilder::calm();
        history.at(9_000).by(2, Fact::Stopped);
        history.phase(10_000, Phase::Recovery).at(12_000).snapshot(0, partial);
        assert_eq!(history.check(EveryoneIsSeen), Ok(()));
    }
}
