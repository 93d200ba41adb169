//! The followers being served: one slot for each follower's name, at most [`SUBSCRIBERS_MAX`].
//!
//! Must not know what is sent. A follower that calls again takes its old slot: its former stream is dead or will be.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use murmuration::id::ReplicaId;
use tokio::sync::oneshot;

/// How many followers one replica serves.
pub(super) const SUBSCRIBERS_MAX: usize = 256;

/// The slots. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct SubscriberSlots(Arc<Mutex<Slots>>);

#[derive(Debug, Default)]
struct Slots {
    taken: BTreeMap<ReplicaId, (u64, oneshot::Sender<()>)>,
    next: u64,
}

/// A slot. Dropping it frees it.
#[derive(Debug)]
pub(super) struct SubscriberSlot {
    follower: ReplicaId,
    number: u64,
    claimed: oneshot::Receiver<()>,
    subscriber_slots: SubscriberSlots,
}

// === impl SubscriberSlots ===

impl SubscriberSlots {
    /// A slot for `follower`; `None` when all are taken.
    pub(super) fn take(&self, follower: ReplicaId) -> Option<SubscriberSlot> {
        let mut slots = self.slots();
        if slots.taken.len() >= SUBSCRIBERS_MAX && !slots.taken.contains_key(&follower) {
            return None;
        }
        let (number, (sender, claimed)) = (slots.next, oneshot::channel());
        slots.next += 1;
        // Dropping the former sender notifies the older stream.
        slots.taken.insert(follower.clone(), (number, sender));
        drop(slots);
        Some(SubscriberSlot { follower, number, claimed, subscriber_slots: self.clone() })
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        // Every change is complete before anything in it can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl SubscriberSlot ===

impl SubscriberSlot {
    /// The follower in this slot.
    pub(super) fn follower(&self) -> &ReplicaId {
        &self.follower
    }

    /// Resolves when the same follower took the slot with a newer stream. Not to be polled after that.
    pub(super) async fn claimed(&mut self) {
        drop((&mut self.claimed).await);
    }
}

impl Drop for SubscriberSlot {
    fn drop(&mut self) {
        let mut slots = self.subscriber_slots.slots();
        if slots.taken.get(&self.follower).is_some_and(|(number, _)| *number == self.number) {
            slots.taken.remove(&self.follower);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn name(n: usize) -> ReplicaId {
        ReplicaId(format!("r{n}"))
    }

    #[tokio::test]
    async fn a_returning_follower_takes_its_old_slot() {
        let subscriber_slots = SubscriberSlots::default();
        let mut old = subscriber_slots.take(name(1)).unwrap();
        let _new = subscriber_slots.take(name(1)).unwrap();
        old.claimed().await;
        drop(old);
        assert_eq!(subscriber_slots.slots().taken.len(), 1, "the old stream does not free the new one's slot");
    }

    #[test]
    fn slots_are_limited_and_a_freed_one_is_taken_again() {
        let subscriber_slots = SubscriberSlots::default();
        let mut taken: Vec<SubscriberSlot> =
            (0..SUBSCRIBERS_MAX).map(|n| subscriber_slots.take(name(n)).unwrap()).collect();
        assert!(subscriber_slots.take(name(SUBSCRIBERS_MAX)).is_none());
        assert!(subscriber_slots.take(name(0)).is_some(), "a follower that has a slot may call again");
        taken.pop();
        assert!(subscriber_slots.take(name(SUBSCRIBERS_MAX)).is_some());
    }
}
