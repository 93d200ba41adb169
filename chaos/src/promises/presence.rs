//! `everyone_is_seen`.
//!
//! Must not know membership's protocol.

use super::{Broken, HEALING, Kind, Promise, Scene, broken};
use crate::chronicle::{Entry, Fact, Look, Phase, Witness};

/// See [`Promise::meaning`].
#[derive(Debug, Default)]
pub(super) struct EveryoneIsSeen;

/// The living replicas that this one does not see, and whether it is not ready.
pub(crate) fn missing(replica: usize, look: &Look, scene: &Scene) -> Vec<String> {
    let others = scene.living().filter(|other| *other != replica).map(|other| format!("replica-{other}"));
    others.filter(|other| !look.members.contains_key(other)).collect()
}

// === impl EveryoneIsSeen ===

impl Promise for EveryoneIsSeen {
    fn name(&self) -> &'static str {
        "everyone_is_seen"
    }

    fn meaning(&self) -> &'static str {
        "2 s after the storm every living replica is ready and sees every other one, and keeps seeing it"
    }

    fn kind(&self) -> Kind {
        Kind::Healing
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        let (Fact::Looked(look), Witness::Replica(replica, _)) = (&entry.fact, entry.by) else { return Ok(()) };
        if !scene.settled(Phase::Healing, HEALING) {
            return Ok(());
        }
        let missing = missing(replica, look, scene);
        if !missing.is_empty() {
            return broken!("replica-{replica} does not see {}", missing.join(", "));
        }
        match look.ready {
            true => Ok(()),
            false => broken!("replica-{replica} is not ready"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promises::testing::{Tale, well};

    fn looked(at: u64, look: Look) -> Tale {
        let mut tale = Tale::calm();
        tale.phase(10_000, Phase::Healing).at(at).look(0, look);
        tale
    }

    #[test]
    fn two_seconds_after_the_storm_all_are_there() {
        let mut alone = well(0);
        alone.members.remove("replica-2");
        assert_eq!(looked(11_999, alone.clone()).judged(EveryoneIsSeen), Ok(()));
        looked(12_000, alone).breaks(EveryoneIsSeen, "replica-0 does not see replica-2");
        looked(12_000, Look { ready: false, ..well(0) }).breaks(EveryoneIsSeen, "not ready");
        assert_eq!(looked(12_000, well(0)).judged(EveryoneIsSeen), Ok(()));
    }

    #[test]
    fn the_dead_need_not_be_seen() {
        let mut alone = well(0);
        alone.members.remove("replica-2");
        let mut tale = Tale::calm();
        tale.at(9_000).by(2, Fact::Gone);
        tale.phase(10_000, Phase::Healing).at(12_000).look(0, alone);
        assert_eq!(tale.judged(EveryoneIsSeen), Ok(()));
    }
}
