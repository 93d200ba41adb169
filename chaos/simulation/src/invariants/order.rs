//! `words_arrive_in_order`.
//!
//! Must not know the content of facts. A lost peer is forgotten, and its facts are received from the start when it is
//! back.

use std::collections::BTreeMap;

use murmuration::event::Event;
use murmuration::id::{Incarnation, ReplicaId};

use super::{About, Broken, Invariant, Scene, broken, scheduler_restarted};
use crate::history::{Entry, Fact, Source};

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct WordsArriveInOrder {
    received: BTreeMap<(usize, u32), BTreeMap<ReplicaId, (Incarnation, u64)>>,
}

// === impl WordsArriveInOrder ===

impl Invariant for WordsArriveInOrder {
    fn about(&self) -> About {
        About::safety(
            "words_arrive_in_order",
            "the number up to which all facts of a peer were received never falls, unless the peer was lost",
        )
    }

    fn see(&mut self, entry: &Entry, _scene: &Scene) -> Result<(), Broken> {
        let Source::Replica(replica, start) = entry.by else { return Ok(()) };
        let received = self.received.entry((replica, start)).or_default();
        match &entry.fact {
            Fact::Emitted(Event::PeerLost { peer, .. } | Event::PeerJoined { peer, .. }) => {
                received.remove(peer);
            }
            fact if scheduler_restarted(fact) => received.clear(),
            Fact::SnapshotTaken(snapshot) => {
                for peer in &snapshot.fleet.peers {
                    let now = (peer.incarnation, peer.upto);
                    if let Some(before) = received.insert(peer.replica.clone(), now)
                        && before.0 == now.0
                        && before.1 > now.1
                    {
                        let name = &peer.replica;
                        return broken!(
                            "replica-{replica} had received facts of {name} up to {}, and now only up to {}",
                            before.1,
                            now.1
                        );
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::{HistoryBuilder, replica, well};

    fn received(lost_between: bool) -> HistoryBuilder {
        let mut history = HistoryBuilder::calm();
        history.snapshot(0, well(0));
        if lost_between {
            history.told(0, Event::PeerLost { peer: replica(1), incarnation: Incarnation(1) });
        }
        history.sees(0, |snapshot| snapshot.fleet.peers[0].upto = 99);
        history
    }

    #[test]
    fn numbers_fall_only_if_the_peer_was_lost() {
        assert_eq!(received(true).check(WordsArriveInOrder::default()), Ok(()));
        received(false).breaks(WordsArriveInOrder::default(), "up to 100, and now only up to 99");
    }
}
