//! `everyone_is_seen`.
//!
//! Must not know the membership protocol.

use std::time::Duration;

use super::{About, Broken, Invariant, RECOVERY, Scene, broken};
use crate::history::{Entry, Phase, Snapshot};
use crate::plan::Fault;

/// For how long a replica is ignored whose clock was set back before it started, if nobody could tell it then that its
/// former incarnation is remembered as a later one (`docs/security.md`, Incarnations).
const SUCCESSOR_SILENCE: Duration = Duration::from_secs(3);

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
            "from 2 s after the storm on (5 s if a clock was set back and a network fault hid it), every live replica is ready and sees every other live one",
        )
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        let Some((replica, snapshot)) = entry.snapshot() else { return Ok(()) };
        let set_back = |fault: &Fault| matches!(fault, Fault::ClockStep { step_ms, .. } if *step_ms < 0);
        let met_late = scene.feels(scene.now(), set_back) && scene.peer_links_faulty(scene.now());
        let within = if met_late { RECOVERY + SUCCESSOR_SILENCE } else { RECOVERY };
        if !scene.settled(Phase::Recovery, within) {
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
    use crate::plan::Place;

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
    fn whose_clock_was_set_back_behind_a_cut_is_seen_three_seconds_later() {
        let step = |step_ms| Fault::ClockStep { who: Place::Replica(2), step_ms };
        let cut = Fault::Cut { from: Place::Replicas, to: Place::Replicas, one_way: false };
        for (step_ms, at, right) in [(-5, 14_999, true), (-5, 15_000, false), (5, 12_000, false)] {
            let mut history = HistoryBuilder::with(vec![step(step_ms), cut.clone()]);
            (0..2).for_each(|index| history.world(Fact::FaultBegan(index)));
            (0..2).for_each(|index| history.world(Fact::FaultEnded(index)));
            let mut partial = well(0);
            partial.members.remove("replica-2");
            history.phase(10_000, Phase::Recovery).at(at).snapshot(0, partial);
            assert_eq!(history.check(EveryoneIsSeen).is_ok(), right, "{step_ms} {at}");
        }
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
