//! `words_arrive_in_order`.
//!
//! Must not know what is said. A peer that was lost is forgotten, and heard from the start when it is back.

use std::collections::BTreeMap;

use murmuration::event::Event;
use murmuration::id::{Incarnation, ReplicaId};

use super::{Broken, Promise, Scene, broken, scheduler_restarted};
use crate::chronicle::{Entry, Fact, Witness};

/// See [`Promise::meaning`].
#[derive(Debug, Default)]
pub(super) struct WordsArriveInOrder {
    heard: BTreeMap<(usize, u32), BTreeMap<ReplicaId, (Incarnation, u64)>>,
}

// === impl WordsArriveInOrder ===

impl Promise for WordsArriveInOrder {
    fn name(&self) -> &'static str {
        "words_arrive_in_order"
    }

    fn meaning(&self) -> &'static str {
        "the number up to which all was heard of a peer never falls, as long as the peer is not lost"
    }

    fn see(&mut self, entry: &Entry, _scene: &Scene) -> Result<(), Broken> {
        let Witness::Replica(replica, life) = entry.by else { return Ok(()) };
        let heard = self.heard.entry((replica, life)).or_default();
        match &entry.fact {
            Fact::Told(Event::PeerLost { peer, .. } | Event::PeerJoined { peer, .. }) => {
                heard.remove(peer);
            }
            fact if scheduler_restarted(fact) => heard.clear(),
            Fact::Looked(look) => {
                for peer in &look.fleet.peers {
                    let now = (peer.incarnation, peer.upto);
                    if let Some(before) = heard.insert(peer.replica.clone(), now)
                        && before.0 == now.0
                        && before.1 > now.1
                    {
                        let name = &peer.replica;
                        return broken!(
                            "replica-{replica} had heard {name} up to {}, and now only up to {}",
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
    use crate::promises::testing::{Tale, replica, well};

    fn heard(lost_between: bool) -> Tale {
        let mut tale = Tale::calm();
        tale.look(0, well(0));
        if lost_between {
            tale.told(0, Event::PeerLost { peer: replica(1), incarnation: Incarnation(1) });
        }
        let mut look = well(0);
        look.fleet.peers[0].upto = 99;
        tale.look(0, look);
        tale
    }

    #[test]
    fn numbers_fall_only_when_the_peer_was_lost() {
        assert_eq!(heard(true).judged(WordsArriveInOrder::default()), Ok(()));
        heard(false).breaks(WordsArriveInOrder::default(), "up to 100, and now only up to 99");
    }
}
