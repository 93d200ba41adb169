//! Whom chitchat's own rounds reach. They ask three living peers; while streams tell all facts, one is enough to show who
//! lives, for each exchange tells of everybody. They also ask one of the dead, and a former start of this replica is one of
//! them, at its own address: nobody talks to itself.
//!
//! Must not know what a message says beyond who begins an exchange. Peers that are not known to live are always reached, so
//! that whoever comes back is found as soon as ever.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use murmuration::time::Timestamp;

/// Living peers for each of which one more is reached: in a large tier everybody must be met before a token is over.
const PEERS_A_GREETING: usize = 16;

/// The rule, as the lane's rounds set it and its socket asks it.
#[derive(Debug)]
pub(super) struct Fanout {
    /// Where others reach this replica.
    me: SocketAddr,
    interval: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Those who live, where streams tell them all; else nobody.
    told: BTreeSet<SocketAddr>,
    began: Timestamp,
    greeted: usize,
}

// === impl Fanout ===

impl Fanout {
    /// Everybody but this replica, which is reached at `me`, is reached each `interval`.
    pub(super) fn new(me: SocketAddr, interval: Duration) -> Self {
        Self { me, interval, state: Mutex::default() }
    }

    /// Streams tell these peers, who live, all that gossip would; nobody where that is not so of all.
    pub(super) fn told_by_streams(&self, peers: impl Iterator<Item = SocketAddr>) {
        let told = peers.collect();
        self.state().told = told;
    }

    /// Whether an exchange with `peer` shall begin at `now`.
    pub(super) fn reaches(&self, peer: SocketAddr, now: Timestamp) -> bool {
        if peer == self.me {
            return false;
        }
        let mut state = self.state();
        if !state.told.contains(&peer) {
            return true;
        }
        // Rounds are not exactly one interval apart.
        if now.since(state.began) >= self.interval * 3 / 4 {
            (state.began, state.greeted) = (now, 0);
        }
        state.greeted += 1;
        state.greeted <= 1 + state.told.len() / PEERS_A_GREETING
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole before anything in it can panic.
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
    fn all_are_reached_until_streams_tell_them_and_again_when_one_is_not_told() {
        let (fanout, now) = (Fanout::new(peer(0), INTERVAL), Timestamp::from_millis(1_000));
        assert_eq!(reached(&fanout, now), 3, "all but itself");
        fanout.told_by_streams((1..=3).map(peer));
        assert_eq!((reached(&fanout, now), reached(&fanout, now + INTERVAL / 2)), (1, 0));
        assert_eq!(reached(&fanout, now + INTERVAL), 1, "one in each round");
        fanout.told_by_streams(std::iter::empty());
        assert_eq!(reached(&fanout, now + INTERVAL), 3);
    }

    #[test]
    fn who_is_not_known_to_live_is_always_reached_and_a_large_tier_reaches_more() {
        let (fanout, now) = (Fanout::new(peer(0), INTERVAL), Timestamp::from_millis(1_000));
        fanout.told_by_streams((100..132).map(peer));
        assert_eq!(reached(&fanout, now), 3, "the dead, seeds and foreign_traffic");
        assert_eq!((100..110).filter(|port| fanout.reaches(peer(*port), now)).count(), 3);
    }
}
