//! `shares_die_with_their_owner`.
//!
//! Must not know how death is found out. A frozen replica is as good as dead: its work is not taken for running by others. Where a cut
//! ends, news of the dead that somebody else had comes late, and is news to who hears it; its two seconds begin then.

use std::time::Duration;

use super::{Broken, CLEANUP, Promise, Scene, broken, names};
use crate::chronicle::{Entry, Fact, Look, Witness};

/// How much later death may be found out where words are lost or late anyway.
const DOUBT: Duration = Duration::from_secs(2);

/// See [`Promise::meaning`].
#[derive(Debug, Default)]
pub(super) struct SharesDieWithTheirOwner;

// === impl SharesDieWithTheirOwner ===

impl Promise for SharesDieWithTheirOwner {
    fn name(&self) -> &'static str {
        "shares_die_with_their_owner"
    }

    fn meaning(&self) -> &'static str {
        "2 s after a replica died or stood still, or the last cut ended, nobody counts its open work, nor any that no living peer has"
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        let (Fact::Looked(look), Witness::Replica(replica, _)) = (&entry.fact, entry.by) else { return Ok(()) };
        orphans(replica, look)?;
        if !scene.awake_for(replica, CLEANUP) {
            return Ok(());
        }
        for peer in look.fleet.peers.iter().filter(|peer| peer.in_flight.requests > 0) {
            let Some(owner) = names::replica(&peer.replica) else { continue };
            let Some((since, how)) = away(owner, scene) else { continue };
            let bound = if rough(owner, scene) { CLEANUP + DOUBT } else { CLEANUP };
            if scene.now() > since + bound && !scene.talk_mended(CLEANUP) {
                let open = peer.in_flight.requests;
                return broken!(
                    "replica-{replica} counts {open} requests of replica-{owner}, which has been {how} since {since:?}"
                );
            }
        }
        Ok(())
    }
}

/// What peers have open on endpoints is nothing that no peer has.
fn orphans(replica: usize, look: &Look) -> Result<(), Broken> {
    let foreign: u64 = look.fleet.endpoints.iter().map(|endpoint| u64::from(endpoint.foreign.requests)).sum();
    let owned: u64 = look.fleet.peers.iter().map(|peer| u64::from(peer.in_flight.requests)).sum();
    match foreign > owned {
        true => broken!("replica-{replica} counts {foreign} requests of peers, who have {owned}"),
        false => Ok(()),
    }
}

fn away(owner: usize, scene: &Scene) -> Option<(Duration, &'static str)> {
    let dead = scene.dead_since(owner).map(|since| (since, "dead"));
    dead.or_else(|| scene.frozen_since(owner).map(|since| (since, "frozen")))
}

/// Whether others were away too, or words between replicas lost or late, of late; the owner's own absence is no excuse.
fn rough(owner: usize, scene: &Scene) -> bool {
    let mut others = (0..scene.plan().town.replicas).filter(|replica| *replica != owner);
    others.any(|replica| !scene.awake_for(replica, CLEANUP)) || scene.talk_struck(CLEANUP + DOUBT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Fault, Place};
    use crate::promises::testing::{Tale, open, well};

    /// Replica 1 looks at `at` and counts one request of replica 0, which dies or is struck at 10 s.
    fn counted(at: u64, faults: Vec<Fault>) -> Tale {
        let dead = faults.is_empty();
        let mut tale = Tale::with(faults);
        tale.at(10_000);
        if dead {
            tale.by(0, Fact::Gone);
        } else {
            (0..tale.plan.faults.len()).for_each(|index| tale.world(Fact::Struck(index)));
        }
        let mut look = well(1);
        look.fleet.peers[0].in_flight = open(1);
        tale.at(at).look(1, look);
        tale
    }

    #[test]
    fn two_seconds_after_its_death_a_replica_counts_no_more() {
        assert_eq!(counted(12_000, Vec::new()).judged(SharesDieWithTheirOwner), Ok(()));
        counted(12_001, Vec::new()).breaks(SharesDieWithTheirOwner, "replica-0, which has been dead since 10s");
    }

    #[test]
    fn who_is_frozen_counts_no_more_either() {
        let frozen = || vec![Fault::Freeze { who: Place::Replica(0) }];
        assert_eq!(counted(12_000, frozen()).judged(SharesDieWithTheirOwner), Ok(()));
        counted(12_001, frozen()).breaks(SharesDieWithTheirOwner, "frozen since 10s");
    }

    #[test]
    fn where_words_are_lost_death_may_be_found_out_later() {
        let lossy = Fault::Loss { from: Place::Replicas, to: Place::Replicas, share: 0.2 };
        let both = || vec![Fault::Freeze { who: Place::Replica(0) }, lossy.clone()];
        assert_eq!(counted(14_000, both()).judged(SharesDieWithTheirOwner), Ok(()));
        counted(14_001, both()).breaks(SharesDieWithTheirOwner, "frozen since 10s");
    }

    #[test]
    fn news_of_the_dead_that_a_cut_held_back_is_counted_for_two_seconds_more() {
        let told = |at: u64| {
            let cut = Fault::Cut { from: Place::Replicas, to: Place::Replicas, one_way: false };
            let mut tale = Tale::with(vec![Fault::Freeze { who: Place::Replica(0) }, cut]);
            tale.at(10_000);
            (0..2).for_each(|index| tale.world(Fact::Struck(index)));
            tale.at(13_800).world(Fact::Lifted(1));
            let mut look = well(1);
            look.fleet.peers[0].in_flight = open(1);
            tale.at(at).look(1, look);
            tale
        };
        assert_eq!(told(15_800).judged(SharesDieWithTheirOwner), Ok(()));
        told(15_801).breaks(SharesDieWithTheirOwner, "frozen since 10s");
    }

    #[test]
    fn work_that_no_peer_has_is_nobodys() {
        let mut tale = Tale::calm();
        let mut look = well(1);
        look.fleet.endpoints[0].foreign = open(1);
        tale.look(1, look);
        tale.breaks(SharesDieWithTheirOwner, "counts 1 requests of peers, who have 0");
    }
}
