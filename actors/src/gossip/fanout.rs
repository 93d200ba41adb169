//! Limits which peers chitchat's own rounds contact.
//!
//! A round contacts three living peers. While streams carry all facts, one is enough to show who lives, because each
//! exchange covers all members; and of peers in other zones, one in several rounds, because what one replica of a zone
//! learns, the others learn from it. A round also contacts one dead node. That may be a former start of this replica,
//! at its own address, which is never contacted.
//!
//! Must not know what a message contains beyond whether it begins an exchange. Peers not known to live are always
//! contacted, so that a returning peer is found as soon as without the limit.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use murmuration::time::Timestamp;

/// Living peers per additional exchange in a round: in a large tier each peer must be met before its token expires.
const PEERS_PER_EXCHANGE: usize = 16;
/// Rounds from one exchange with a peer of another zone to the next, where there are peers in this zone.
const ROUNDS_PER_FAR_EXCHANGE: u32 = 4;

/// Decides which exchanges may begin. The lane's rounds update it, and its socket asks it.
#[derive(Debug)]
pub(super) struct Fanout {
    /// The address at which peers reach this replica.
    me: SocketAddr,
    interval: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The living peers, while all of them get all facts by stream, and whether they are in another zone; else empty.
    streamed: BTreeMap<SocketAddr, bool>,
    began: Timestamp,
    exchanges: usize,
    /// When an exchange with a peer of another zone began last.
    far_began: Option<Timestamp>,
}

// === impl Fanout ===

impl Fanout {
    /// Contacts all peers each `interval`, but never this replica itself, which is reached at `me`.
    pub(super) fn new(me: SocketAddr, interval: Duration) -> Self {
        Self { me, interval, state: Mutex::default() }
    }

    /// Sets the living peers that get by stream all that gossip would bring, and whether they are in another zone, which
    /// saves exchanges only where others are in this one; empty unless it is so for all.
    pub(super) fn set_stream_followers(&self, peers: impl Iterator<Item = (SocketAddr, bool)>) {
        let mut streamed: BTreeMap<SocketAddr, bool> = peers.collect();
        if streamed.values().all(|far| *far) {
            streamed.values_mut().for_each(|far| *far = false);
        }
        self.state().streamed = streamed;
    }

    /// Whether an exchange with `peer` may begin at `now`.
    pub(super) fn reaches(&self, peer: SocketAddr, now: Timestamp) -> bool {
        if peer == self.me {
            return false;
        }
        let mut state = self.state();
        let Some(&far) = state.streamed.get(&peer) else { return true };
        if far {
            // Rounds are not exactly one interval apart.
            let pause = self.interval * ROUNDS_PER_FAR_EXCHANGE - self.interval / 4;
            let may = state.far_began.is_none_or(|began| now.since(began) >= pause);
            if may {
                state.far_began = Some(now);
            }
            return may;
        }
        if now.since(state.began) >= self.interval * 3 / 4 {
            (state.began, state.exchanges) = (now, 0);
        }
        state.exchanges += 1;
        state.exchanges <= 1 + state.streamed.len() / PEERS_PER_EXCHANGE
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic can't leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(50);

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn reached(fanout: &Fanout, now: Timestamp) -> usize {
        (0..=3).filter(|port| fanout.reaches(peer(*port), now)).count()
    }

    #[test]
    fn all_peers_are_reached_unless_all_follow_by_stream() {
        let (fanout, now) = (Fanout::new(peer(0), INTERVAL), Timestamp::from_millis(1_000));
        assert_eq!(reached(&fanout, now), 3, "all but itself");
        fanout.set_stream_followers((1..=3).map(|port| (peer(port), false)));
        assert_eq!((reached(&fanout, now), reached(&fanout, now + INTERVAL / 2)), (1, 0));
        assert_eq!(reached(&fanout, now + INTERVAL), 1, "one in each round");
        fanout.set_stream_followers(std::iter::empty());
        assert_eq!(reached(&fanout, now + INTERVAL), 3);
    }

    #[test]
    fn peers_not_known_to_live_are_always_reached_and_a_large_tier_reaches_more() {
        let (fanout, now) = (Fanout::new(peer(0), INTERVAL), Timestamp::from_millis(1_000));
        fanout.set_stream_followers((100..132).map(|port| (peer(port), false)));
        assert_eq!(reached(&fanout, now), 3, "dead peers, seeds and unknown senders");
        assert_eq!((100..110).filter(|port| fanout.reaches(peer(*port), now)).count(), 3);
    }

    #[test]
    fn peers_of_other_zones_are_reached_in_one_of_several_rounds() {
        let fanout = Fanout::new(peer(0), INTERVAL);
        let rounds = |fanout: &Fanout, from: u64, port: u16| {
            let at = |round: u64| Timestamp::from_millis(from + 50 * round);
            (0..60).filter(|round| fanout.reaches(peer(port), at(*round))).count()
        };
        fanout.set_stream_followers([(peer(1), false), (peer(2), true)].into_iter());
        assert_eq!((rounds(&fanout, 0, 1), rounds(&fanout, 0, 2)), (60, 15));
        fanout.set_stream_followers([(peer(2), true), (peer(3), true)].into_iter());
        assert_eq!(rounds(&fanout, 10_000, 2), 60, "without peers in the zone it learns from no other");
    }
}
