//! Of whom a replica that joins asks history: of whoever has lived longest, for only who was there knows what the dead placed.
//!
//! Must not know what history is. SchedulerStarts are numbered by the clocks of machines: a clock that is wrong makes another peer
//! look old, so that one that knows less is asked. Nothing else depends on it.

use std::sync::atomic::{AtomicU64, Ordering};

use murmuration::id::Incarnation;

/// Nobody was asked yet.
const NOBODY: u64 = u64::MAX;

/// The oldest life that was asked. When several replicas come back at once, they meet each other first: so whoever turns
/// out to have lived longer than all who were asked is asked too.
#[derive(Debug)]
pub struct Joining(AtomicU64);

/// A question that was put, until it is known to have arrived.
#[derive(Debug)]
pub(super) struct Asking {
    life: Incarnation,
    before: u64,
}

// === impl Joining ===

impl Joining {
    /// Of one that joins.
    pub fn begins() -> Self {
        Self(AtomicU64::new(NOBODY))
    }

    /// Of one that was there from the beginning: it asks nobody.
    pub fn is_over() -> Self {
        Self(AtomicU64::new(0))
    }

    /// It knows nothing any more.
    pub fn again(&self) {
        self.0.store(NOBODY, Ordering::Relaxed);
    }

    /// Whether a peer of this life is to be asked.
    pub(super) fn asks(&self, life: Incarnation) -> Option<Asking> {
        let before = self.0.fetch_min(life.0, Ordering::Relaxed);
        (life.0 < before).then_some(Asking { life, before })
    }

    /// The question did not arrive. If an older peer was asked meanwhile, that is enough.
    pub(super) fn was_unheard(&self, asking: &Asking) {
        let _ = self.0.compare_exchange(asking.life.0, asking.before, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(joining: &Joining, life: u64) -> bool {
        joining.asks(Incarnation(life)).is_some()
    }

    #[test]
    fn whoever_lived_longer_than_all_who_were_asked_is_asked() {
        let joining = Joining::begins();
        assert_eq!([50, 60, 50, 20, 30, 10].map(|life| asks(&joining, life)), [true, false, false, true, false, true]);
        joining.again();
        assert!(asks(&joining, 60));
        assert!(!asks(&Joining::is_over(), 1));
    }

    #[test]
    fn a_question_that_did_not_arrive_is_put_to_the_next() {
        let joining = Joining::begins();
        let asking = joining.asks(Incarnation(20));
        asking.iter().for_each(|asking| joining.was_unheard(asking));
        assert!(asks(&joining, 30));
        let asking = joining.asks(Incarnation(20));
        assert!(asks(&joining, 10));
        asking.iter().for_each(|asking| joining.was_unheard(asking));
        assert!(!asks(&joining, 15), "an older one was asked meanwhile");
    }
}
