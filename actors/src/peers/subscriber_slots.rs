//! Who is being served: one slot for each follower's name, and no more than there are subscriber_slots.
//!
//! Must not know what is said to those who sit. Whoever comes again takes its old slot: the stream it had before is dead,
//! or will be.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use murmuration::id::ReplicaId;
use tokio::sync::oneshot;

/// Followers that one replica serves.
pub(super) const SUBSCRIBERS_MAX: usize = 256;

/// The subscriber_slots. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct SubscriberSlots(Arc<Mutex<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    taken: BTreeMap<ReplicaId, (u64, oneshot::Sender<()>)>,
    next: u64,
}

/// A slot; dropping it frees it.
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
        let mut plan = self.plan();
        if plan.taken.len() >= SUBSCRIBERS_MAX && !plan.taken.contains_key(&follower) {
            return None;
        }
        let (number, (sender, claimed)) = (plan.next, oneshot::channel());
        plan.next += 1;
        // Dropping the sender that was there tells the older stream.
        plan.taken.insert(follower.clone(), (number, sender));
        drop(plan);
        Some(SubscriberSlot { follower, number, claimed, subscriber_slots: self.clone() })
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        // Every change of a plan is whole before anything in it can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl SubscriberSlot ===

impl SubscriberSlot {
    /// Who sits there.
    pub(super) fn follower(&self) -> &ReplicaId {
        &self.follower
    }

    /// Resolves when the same follower took the slot by a newer stream. Not to be asked again after that.
    pub(super) async fn claimed(&mut self) {
        drop((&mut self.claimed).await);
    }
}

impl Drop for SubscriberSlot {
    fn drop(&mut self) {
        let mut plan = self.subscriber_slots.plan();
        if plan.taken.get(&self.follower).is_some_and(|(number, _)| *number == self.number) {
            plan.taken.remove(&self.follower);
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
    async fn whoever_comes_again_takes_its_old_seat() {
        let subscriber_slots = SubscriberSlots::default();
        let mut old = subscriber_slots.take(name(1)).unwrap();
        let _new = subscriber_slots.take(name(1)).unwrap();
        old.claimed().await;
        drop(old);
        assert_eq!(subscriber_slots.plan().taken.len(), 1, "the old one does not free the new one's slot");
    }

    #[test]
    fn there_are_so_many_seats_and_a_freed_one_is_taken_again() {
        let subscriber_slots = SubscriberSlots::default();
        let mut taken: Vec<SubscriberSlot> =
            (0..SUBSCRIBERS_MAX).map(|n| subscriber_slots.take(name(n)).unwrap()).collect();
        assert!(subscriber_slots.take(name(SUBSCRIBERS_MAX)).is_none());
        assert!(subscriber_slots.take(name(0)).is_some(), "who sits may come again");
        taken.pop();
        assert!(subscriber_slots.take(name(SUBSCRIBERS_MAX)).is_some());
    }
}
