//! The copies of other replicas' facts that this replica keeps for its zone: whose followers keep one, and which of them
//! may be followed here.
//!
//! Must not know who relays for whom. A copy may be followed only while this replica itself follows its origin, and has
//! caught up: whoever follows it is sent on to the origin at once when that ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use murmuration::id::{Incarnation, PoolId, ReplicaId};
use murmuration::replication::Batch;
use tokio::sync::watch;

use super::cursor::Cursor;
use super::subscriber_slots::SubscriberSlots;
use crate::clock::Clock;
use crate::replication::Publisher;

/// The copies that may be followed. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Copies(Arc<Mutex<BTreeMap<Key, Offered>>>);

type Key = (PoolId, ReplicaId);

/// A copy that may be followed.
#[derive(Clone, Debug)]
pub(super) struct Offered {
    pub(super) publisher: Publisher,
    pub(super) subscriber_slots: SubscriberSlots,
    /// Ends the streams of its followers.
    pub(super) withdrawn: watch::Receiver<bool>,
}

/// An offer, for as long as this is held.
#[derive(Debug)]
struct Offer {
    key: Key,
    copies: Copies,
    withdraws: watch::Sender<bool>,
}

/// The copy that one follower keeps.
#[derive(Debug)]
pub(super) struct KeptCopy {
    publisher: Publisher,
    copies: Copies,
    offer: Option<Offer>,
}

// === impl Copies ===

impl Copies {
    /// The copy of `origin` for `pool`, if it may be followed.
    pub(super) fn of(&self, pool: &PoolId, origin: &ReplicaId) -> Option<Offered> {
        self.offered().get(&(pool.clone(), origin.clone())).cloned()
    }

    fn offered(&self) -> MutexGuard<'_, BTreeMap<Key, Offered>> {
        // Each is set as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Offer ===

impl Offer {
    fn of(publisher: &Publisher, copies: &Copies) -> Self {
        let (withdraws, withdrawn) = watch::channel(false);
        let key = (publisher.pool().clone(), publisher.me());
        let (publisher, subscriber_slots) = (publisher.clone(), SubscriberSlots::default());
        copies.offered().insert(key.clone(), Offered { publisher, subscriber_slots, withdrawn });
        Self { key, copies: copies.clone(), withdraws }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        let mut offered = self.copies.offered();
        // A follower that started again may have made a newer offer.
        if offered.get(&self.key).is_some_and(|offered| offered.withdrawn.same_channel(&self.withdraws.subscribe())) {
            offered.remove(&self.key);
        }
        drop(offered);
        self.withdraws.send_replace(true);
    }
}

// === impl KeptCopy ===

impl KeptCopy {
    /// A copy without facts.
    pub(super) fn new(key: Key, incarnation: Incarnation, copies: Copies, clock: Clock) -> Self {
        let (pool, origin) = key;
        Self { publisher: Publisher::copy_of(pool, origin, incarnation, clock), copies, offer: None }
    }

    /// Whether it holds what was received up to `cursor`.
    pub(super) fn is_at(&self, cursor: &Cursor) -> bool {
        self.publisher.incarnation() == cursor.incarnation && *self.publisher.head().borrow() == cursor.upto
    }

    /// The incarnation that it is a copy of.
    pub(super) fn incarnation(&self) -> Incarnation {
        self.publisher.incarnation()
    }

    /// Takes what the origin sent. `false` when that does not continue the copy, which is then of no use.
    pub(super) fn take(&self, batch: &Batch) -> bool {
        self.publisher.copy(batch)
    }

    /// It may be followed from now on.
    pub(super) fn offer(&mut self) {
        if self.offer.is_none() {
            self.offer = Some(Offer::of(&self.publisher, &self.copies));
        }
    }

    /// It may not be followed any more.
    pub(super) fn withdraw(&mut self) {
        self.offer = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_offer_is_not_withdrawn_with_an_older_one() {
        let (copies, key) = (Copies::default(), (PoolId::default(), ReplicaId("a".into())));
        let kept = || KeptCopy::new(key.clone(), Incarnation(1), copies.clone(), Clock::start());
        let (mut old, mut new) = (kept(), kept());
        old.offer();
        let first = copies.of(&key.0, &key.1);
        new.offer();
        drop(old);
        assert!(first.is_some_and(|first| *first.withdrawn.borrow()));
        assert!(copies.of(&key.0, &key.1).is_some_and(|second| !*second.withdrawn.borrow()));
        new.withdraw();
        assert!(copies.of(&key.0, &key.1).is_none());
    }
}
