//! `incarnations_only_grow`.
//!
//! Must not know how lives are numbered.

use std::collections::BTreeMap;
use std::time::Duration;

use murmuration::event::Event;
use murmuration::id::{Incarnation, ReplicaId};

use super::{Broken, CLEANUP, Promise, Scene, broken, scheduler_restarted};
use crate::chronicle::{Entry, Fact, Witness};

/// Who hears whom, and by what: membership or the mind.
type Ear = (usize, u32, ReplicaId, &'static str);

/// See [`Promise::meaning`].
#[derive(Debug, Default)]
pub(super) struct IncarnationsOnlyGrow {
    newest: BTreeMap<Ear, Incarnation>,
    /// The life that membership knows of a peer, and since when.
    joined: BTreeMap<(usize, u32, ReplicaId), (Incarnation, Duration)>,
}

// === impl IncarnationsOnlyGrow ===

impl Promise for IncarnationsOnlyGrow {
    fn name(&self) -> &'static str {
        "incarnations_only_grow"
    }

    fn meaning(&self) -> &'static str {
        "to no replica does an older life of a peer come after a newer one, nor count 2 s after membership knows the newer"
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        let Witness::Replica(replica, life) = entry.by else { return Ok(()) };
        let mut hear = |peer: &ReplicaId, incarnation: Incarnation, by: &'static str| {
            let newest = self.newest.entry((replica, life, peer.clone(), by)).or_insert(incarnation);
            if incarnation < *newest {
                return broken!(
                    "replica-{replica} takes life {incarnation} of {peer} for its present one after {newest} ({by})"
                );
            }
            *newest = incarnation;
            Ok(())
        };
        match &entry.fact {
            Fact::Told(Event::PeerJoined { peer, incarnation }) => {
                self.joined.insert((replica, life, peer.clone()), (*incarnation, entry.at));
                hear(peer, *incarnation, "membership")
            }
            Fact::Looked(look) => {
                for (peer, incarnation) in &look.members {
                    hear(&ReplicaId(peer.clone()), Incarnation(*incarnation), "members")?;
                }
                for peer in &look.fleet.peers {
                    hear(&peer.replica, peer.incarnation, "mind")?;
                    let joined = self.joined.get(&(replica, life, peer.replica.clone()));
                    if let Some((newer, since)) = joined
                        && peer.incarnation < *newer
                        && scene.now() > *since + CLEANUP
                        && scene.awake_for(replica, CLEANUP)
                    {
                        let (older, name) = (peer.incarnation, &peer.replica);
                        return broken!(
                            "replica-{replica} counts life {older} of {name}, of which it has known life {newer} since {since:?}"
                        );
                    }
                }
                Ok(())
            }
            // A mind that was born again has heard nothing yet.
            fact if scheduler_restarted(fact) => {
                self.newest.retain(|(who, of, _, by), _| (*who, *of, *by) != (replica, life, "mind"));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chronicle::Look;
    use crate::promises::testing::{Tale, replica, well};

    fn joined(lives: &[u64]) -> Tale {
        let mut tale = Tale::calm();
        for life in lives {
            tale.told(0, Event::PeerJoined { peer: replica(1), incarnation: Incarnation(*life) });
        }
        tale
    }

    #[test]
    fn the_same_life_may_come_back_and_an_older_one_may_not() {
        assert_eq!(joined(&[1, 2, 2, 5]).judged(IncarnationsOnlyGrow::default()), Ok(()));
        joined(&[1, 2, 1]).breaks(IncarnationsOnlyGrow::default(), "life 1 of replica-1 for its present one after 2");
    }

    #[test]
    fn an_older_life_counts_no_more_once_the_newer_is_known() {
        for (at, right) in [(7_000, true), (7_001, false)] {
            let mut tale = Tale::calm();
            tale.at(5_000).told(0, Event::PeerJoined { peer: replica(1), incarnation: Incarnation(2) });
            tale.at(at).look(0, Look { members: BTreeMap::new(), ..well(0) });
            assert_eq!(tale.judged(IncarnationsOnlyGrow::default()).is_ok(), right);
        }
    }

    #[test]
    fn the_mind_is_judged_as_membership_is() {
        let mut tale = Tale::calm();
        let mut look = well(0);
        look.fleet.peers[0].incarnation = Incarnation(2);
        tale.look(0, look);
        assert_eq!(tale.judged(IncarnationsOnlyGrow::default()), Ok(()));
        tale.look(0, well(0));
        tale.breaks(IncarnationsOnlyGrow::default(), "(mind)");
    }
}
