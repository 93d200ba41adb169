//! `incarnations_only_grow`.
//!
//! Must not know how incarnations are numbered.

use std::collections::BTreeMap;
use std::time::Duration;

use murmuration::event::Event;
use murmuration::id::{Incarnation, ReplicaId};

use super::{About, Broken, CLEANUP, Invariant, Scene, broken, scheduler_restarted};
use crate::history::{Entry, Fact, Source};

/// The observing replica and its start, the peer, and where it is observed: events of membership, the members list, or
/// the scheduler.
type Observer = (usize, u32, ReplicaId, &'static str);

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct IncarnationsOnlyGrow {
    newest: BTreeMap<Observer, Incarnation>,
    /// The incarnation of a peer that membership knows, and since when.
    joined: BTreeMap<(usize, u32, ReplicaId), (Incarnation, Duration)>,
}

// === impl IncarnationsOnlyGrow ===

impl Invariant for IncarnationsOnlyGrow {
    fn about(&self) -> About {
        About::safety(
            "incarnations_only_grow",
            "no replica accepts an older incarnation of a peer after a newer one, nor counts it 2 s after membership knows the newer one",
        )
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        let Source::Replica(replica, start) = entry.by else { return Ok(()) };
        let mut observe = |peer: &ReplicaId, incarnation: Incarnation, by: &'static str| {
            let newest = self.newest.entry((replica, start, peer.clone(), by)).or_insert(incarnation);
            if incarnation < *newest {
                return broken!("replica-{replica} accepts incarnation {incarnation} of {peer} after {newest} ({by})");
            }
            *newest = incarnation;
            Ok(())
        };
        match &entry.fact {
            Fact::Emitted(Event::PeerJoined { peer, incarnation }) => {
                self.joined.insert((replica, start, peer.clone()), (*incarnation, entry.at));
                observe(peer, *incarnation, "membership")
            }
            Fact::SnapshotTaken(snapshot) => {
                for (peer, incarnation) in &snapshot.members {
                    observe(&ReplicaId(peer.clone()), Incarnation(*incarnation), "members")?;
                }
                for peer in &snapshot.fleet.peers {
                    observe(&peer.replica, peer.incarnation, "scheduler")?;
                    let joined = self.joined.get(&(replica, start, peer.replica.clone()));
                    if let Some((newer, since)) = joined
                        && peer.incarnation < *newer
                        && scene.now() > *since + CLEANUP
                        && scene.awake_for(replica, CLEANUP)
                    {
                        let (older, name) = (peer.incarnation, &peer.replica);
                        return broken!(
                            "replica-{replica} counts incarnation {older} of {name}, though it has known {newer} since {since:?}"
                        );
                    }
                }
                Ok(())
            }
            // A restarted scheduler has received nothing yet.
            fact if scheduler_restarted(fact) => {
                self.newest.retain(|(who, of, _, by), _| (*who, *of, *by) != (replica, start, "scheduler"));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Snapshot;
    use crate::invariants::testing::{HistoryBuilder, replica, well};

    fn joined(incarnations: &[u64]) -> HistoryBuilder {
        let mut history = HistoryBuilder::calm();
        for incarnation in incarnations {
            history.told(0, Event::PeerJoined { peer: replica(1), incarnation: Incarnation(*incarnation) });
        }
        history
    }

    #[test]
    fn the_same_incarnation_may_join_again_and_an_older_one_may_not() {
        assert_eq!(joined(&[1, 2, 2, 5]).check(IncarnationsOnlyGrow::default()), Ok(()));
        joined(&[1, 2, 1]).breaks(IncarnationsOnlyGrow::default(), "incarnation 1 of replica-1 after 2");
    }

    #[test]
    fn an_older_incarnation_is_not_counted_once_the_newer_is_known() {
        for (at, right) in [(7_000, true), (7_001, false)] {
            let mut history = HistoryBuilder::calm();
            history.at(5_000).told(0, Event::PeerJoined { peer: replica(1), incarnation: Incarnation(2) });
            history.at(at).snapshot(0, Snapshot { members: BTreeMap::new(), ..well(0) });
            assert_eq!(history.check(IncarnationsOnlyGrow::default()).is_ok(), right);
        }
    }

    #[test]
    fn the_scheduler_is_judged_as_membership_is() {
        let mut history = HistoryBuilder::calm();
        history.sees(0, |snapshot| snapshot.fleet.peers[0].incarnation = Incarnation(2));
        assert_eq!(history.check(IncarnationsOnlyGrow::default()), Ok(()));
        history.snapshot(0, well(0));
        history.breaks(IncarnationsOnlyGrow::default(), "(scheduler)");
    }
}
