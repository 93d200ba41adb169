//! `shares_die_with_their_owner`.
//!
//! Must not know how a death is detected. A frozen replica counts as dead: its peers must not count its open work.
//! After a cut ends, a replica may receive facts of the dead one that a peer held, and they are new to it; its two
//! seconds begin then.

use std::time::Duration;

use super::{About, Broken, CLEANUP, Invariant, Scene, broken, names};
use crate::history::{Entry, Snapshot};

/// How much later a death may be detected while messages are lost or late.
const EXTRA_DELAY: Duration = Duration::from_secs(2);

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct SharesDieWithTheirOwner;

// === impl SharesDieWithTheirOwner ===

impl Invariant for SharesDieWithTheirOwner {
    fn about(&self) -> About {
        About::safety(
            "shares_die_with_their_owner",
            "2 s after a replica died or froze, or the last cut ended, no replica counts its open work, nor any that none of its peers has",
        )
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        let Some((replica, snapshot)) = entry.snapshot() else { return Ok(()) };
        orphans(replica, snapshot)?;
        if !scene.awake_for(replica, CLEANUP) {
            return Ok(());
        }
        for peer in snapshot.fleet.peers.iter().filter(|peer| peer.in_flight.requests > 0) {
            let Some(owner) = names::replica(&peer.replica) else { continue };
            let Some((since, how)) = away(owner, scene) else { continue };
            let bound = if disturbed(owner, scene) { CLEANUP + EXTRA_DELAY } else { CLEANUP };
            if scene.now() > since + bound && !scene.peer_links_recovered(CLEANUP) {
                let open = peer.in_flight.requests;
                return broken!(
                    "replica-{replica} counts {open} requests of replica-{owner}, which has been {how} since {since:?}"
                );
            }
        }
        Ok(())
    }
}

/// The open work of peers on all endpoints must not exceed the open work of all peers.
fn orphans(replica: usize, snapshot: &Snapshot) -> Result<(), Broken> {
    let foreign: u64 = snapshot.fleet.endpoints.iter().map(|endpoint| u64::from(endpoint.foreign.requests)).sum();
    let owned: u64 = snapshot.fleet.peers.iter().map(|peer| u64::from(peer.in_flight.requests)).sum();
    match foreign > owned {
        true => broken!("replica-{replica} counts {foreign} requests of peers, who have {owned}"),
        false => Ok(()),
    }
}

fn away(owner: usize, scene: &Scene) -> Option<(Duration, &'static str)> {
    let dead = scene.dead_since(owner).map(|since| (since, "dead"));
    dead.or_else(|| scene.frozen_since(owner).map(|since| (since, "frozen")))
}

/// Whether other replicas were away too, or messages between replicas lost or late, recently. The owner's own absence
/// does not count.
fn disturbed(owner: usize, scene: &Scene) -> bool {
    let mut others = (0..scene.plan().cluster.replicas).filter(|replica| *replica != owner);
    others.any(|replica| !scene.awake_for(replica, CLEANUP)) || scene.peer_links_faulty(CLEANUP + EXTRA_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Fact;
    use crate::invariants::testing::{HistoryBuilder, open};
    use crate::plan::{Fault, Place};

    /// A snapshot of replica 1 at `at` counts one request of replica 0, which dies at 10 s or is hit by the faults.
    fn counted(at: u64, faults: Vec<Fault>) -> HistoryBuilder {
        let dead = faults.is_empty();
        let mut history = HistoryBuilder::with(faults);
        history.at(10_000);
        if dead {
            history.by(0, Fact::Stopped);
        } else {
            (0..history.plan.faults.len()).for_each(|index| history.world(Fact::FaultBegan(index)));
        }
        history.at(at).sees(1, |snapshot| snapshot.fleet.peers[0].in_flight = open(1));
        history
    }

    #[test]
    fn two_seconds_after_a_death_its_work_is_not_counted() {
        assert_eq!(counted(12_000, Vec::new()).check(SharesDieWithTheirOwner), Ok(()));
        counted(12_001, Vec::new()).breaks(SharesDieWithTheirOwner, "replica-0, which has been dead since 10s");
    }

    #[test]
    fn work_of_a_frozen_replica_is_not_counted_either() {
        let frozen = || vec![Fault::Freeze { who: Place::Replica(0) }];
        assert_eq!(counted(12_000, frozen()).check(SharesDieWithTheirOwner), Ok(()));
        counted(12_001, frozen()).breaks(SharesDieWithTheirOwner, "frozen since 10s");
    }

    #[test]
    fn with_lost_messages_a_death_may_be_detected_later() {
        let lossy = Fault::Loss { from: Place::Replicas, to: Place::Replicas, share: 0.2 };
        let both = || vec![Fault::Freeze { who: Place::Replica(0) }, lossy.clone()];
        assert_eq!(counted(14_000, both()).check(SharesDieWithTheirOwner), Ok(()));
        counted(14_001, both()).breaks(SharesDieWithTheirOwner, "frozen since 10s");
    }

    #[test]
    fn facts_of_a_dead_replica_held_back_by_a_cut_count_for_two_seconds() {
        let counted_at = |at: u64| {
            let cut = Fault::Cut { from: Place::Replicas, to: Place::Replicas, one_way: false };
            let mut history = HistoryBuilder::with(vec![Fault::Freeze { who: Place::Replica(0) }, cut]);
            history.at(10_000);
            (0..2).for_each(|index| history.world(Fact::FaultBegan(index)));
            history.at(13_800).world(Fact::FaultEnded(1));
            history.at(at).sees(1, |snapshot| snapshot.fleet.peers[0].in_flight = open(1));
            history
        };
        assert_eq!(counted_at(15_800).check(SharesDieWithTheirOwner), Ok(()));
        counted_at(15_801).breaks(SharesDieWithTheirOwner, "frozen since 10s");
    }

    #[test]
    fn work_that_no_peer_has_is_not_counted() {
        let mut history = HistoryBuilder::calm();
        history.sees(1, |snapshot| snapshot.fleet.endpoints[0].foreign = open(1));
        history.breaks(SharesDieWithTheirOwner, "counts 1 requests of peers, who have 0");
    }
}
