//! Which peers a joining replica asks for history: the longest-running one, because only it knows what dead peers
//! placed; or the two that run longest, after this replica lost what it knew, or stood still.
//!
//! Must not know what history is. Incarnations are numbered by the machines' clocks. A wrong clock makes another peer
//! look oldest, so a peer that knows less is asked. Nothing else depends on it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use murmuration::id::Incarnation;
use tokio::time::Instant;

/// How many of the oldest peers a replica asks that lost what it knew: what killed its scheduler may have killed that of
/// the oldest peer too.
const ASKED_AGAIN: usize = 2;
/// Within this time all streams have noticed a stall.
const NOTICED_WITHIN: Duration = Duration::from_secs(5);

/// The oldest incarnations that were asked. Replicas that restart together meet each other first. So a peer that turns
/// out to be older than all that were asked is asked too.
#[derive(Debug)]
pub struct Joining(Mutex<Asked>);

#[derive(Debug)]
struct Asked {
    /// Ordered.
    incarnations: Vec<Incarnation>,
    most: usize,
    /// When this replica stood still last, as far as it noticed.
    stalled_at: Option<Instant>,
}

/// A request for history, until it is known to have arrived.
#[derive(Debug)]
pub(super) struct Asking(Incarnation);

// === impl Joining ===

impl Joining {
    /// For a replica that joins.
    pub fn begins() -> Self {
        Self::asking(1)
    }

    /// For a replica that was there from the beginning: it asks no peer.
    pub fn is_over() -> Self {
        Self::asking(0)
    }

    /// The replica lost what it knew, and asks again.
    pub fn again(&self) {
        let mut asked = self.asked();
        (asked.incarnations, asked.most) = (Vec::new(), ASKED_AGAIN);
    }

    /// The replica stood still. A peer that died meanwhile told others what it placed last, so it asks again: once,
    /// however many streams notice it.
    pub(super) fn stalled(&self) {
        let now = Instant::now();
        let noticed = self.asked().stalled_at.replace(now);
        if noticed.is_none_or(|at| now.duration_since(at) > NOTICED_WITHIN) {
            self.again();
        }
    }

    /// Whether to ask a peer with this incarnation.
    pub(super) fn asks(&self, incarnation: Incarnation) -> Option<Asking> {
        let mut asked = self.asked();
        let at = asked.incarnations.binary_search(&incarnation).err().filter(|at| *at < asked.most)?;
        asked.incarnations.insert(at, incarnation);
        let most = asked.most;
        asked.incarnations.truncate(most);
        Some(Asking(incarnation))
    }

    /// The request did not arrive. If older peers were asked meanwhile, nothing changes.
    pub(super) fn not_delivered(&self, asking: &Asking) {
        self.asked().incarnations.retain(|incarnation| *incarnation != asking.0);
    }

    fn asking(most: usize) -> Self {
        Self(Mutex::new(Asked { incarnations: Vec::new(), most, stalled_at: None }))
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        // A panic can't leave it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(joining: &Joining, incarnation: u64) -> bool {
        joining.asks(Incarnation(incarnation)).is_some()
    }

    #[test]
    fn a_peer_older_than_all_that_were_asked_is_asked() {
        let joining = Joining::begins();
        assert_eq!([50, 60, 50, 20, 30, 10].map(|peer| asks(&joining, peer)), [true, false, false, true, false, true]);
        joining.again();
        assert_eq!([60, 60, 50, 70, 40].map(|peer| asks(&joining, peer)), [true, false, true, false, true]);
        assert!(!asks(&Joining::is_over(), 1));
    }

    #[test]
    fn a_request_that_did_not_arrive_goes_to_the_next_peer() {
        let joining = Joining::begins();
        let asking = joining.asks(Incarnation(20));
        asking.iter().for_each(|asking| joining.not_delivered(asking));
        assert!(asks(&joining, 30));
        let asking = joining.asks(Incarnation(20));
        assert!(asks(&joining, 10));
        asking.iter().for_each(|asking| joining.not_delivered(asking));
        assert!(!asks(&joining, 15), "an older peer was asked meanwhile");
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_stood_still_asks_once() {
        let joining = Joining::is_over();
        joining.stalled();
        assert!(asks(&joining, 20) && asks(&joining, 30));
        joining.stalled();
        assert!(!asks(&joining, 20), "another stream noticed the same");
        tokio::time::advance(NOTICED_WITHIN * 2).await;
        joining.stalled();
        assert!(asks(&joining, 20));
    }
}
