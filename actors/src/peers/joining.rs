//! Which peers a joining replica asks for history: the longest-running one, because only it knows what dead peers
//! placed.
//!
//! Must not know what history is. Incarnations are numbered by the machines' clocks. A wrong clock makes another peer
//! look oldest, so a peer that knows less is asked. Nothing else depends on it.

use std::sync::atomic::{AtomicU64, Ordering};

use murmuration::id::Incarnation;

/// No peer was asked yet.
const NONE_ASKED: u64 = u64::MAX;

/// The oldest incarnation that was asked. Replicas that restart together meet each other first. So a peer that turns
/// out to be older than all that were asked is asked too.
#[derive(Debug)]
pub struct Joining(AtomicU64);

/// A request for history, until it is known to have arrived.
#[derive(Debug)]
pub(super) struct Asking {
    incarnation: Incarnation,
    before: u64,
}

// === impl Joining ===

impl Joining {
    /// For a replica that joins.
    pub fn begins() -> Self {
        Self(AtomicU64::new(NONE_ASKED))
    }

    /// For a replica that was there from the beginning: it asks no peer.
    pub fn is_over() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The replica lost what it knew, and asks again.
    pub fn again(&self) {
        self.0.store(NONE_ASKED, Ordering::Relaxed);
    }

    /// Whether to ask a peer with this incarnation.
    pub(super) fn asks(&self, incarnation: Incarnation) -> Option<Asking> {
        let before = self.0.fetch_min(incarnation.0, Ordering::Relaxed);
        (incarnation.0 < before).then_some(Asking { incarnation, before })
    }

    /// The request did not arrive. If an older peer was asked meanwhile, nothing changes.
    pub(super) fn not_delivered(&self, asking: &Asking) {
        let _ = self.0.compare_exchange(asking.incarnation.0, asking.before, Ordering::Relaxed, Ordering::Relaxed);
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
        assert!(asks(&joining, 60));
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
}
