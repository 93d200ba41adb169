//! Who is being served: one seat for each follower's name, and no more than there are seats.
//!
//! Must not know what is said to those who sit. Whoever comes again takes its old seat: the stream it had before is dead,
//! or will be.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use murmuration::id::ReplicaId;
use tokio::sync::oneshot;

/// Followers that one replica serves.
pub(super) const SEATS_MAX: usize = 256;

/// The seats. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Seats(Arc<Mutex<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    taken: BTreeMap<ReplicaId, (u64, oneshot::Sender<()>)>,
    next: u64,
}

/// A seat; dropping it frees it.
#[derive(Debug)]
pub(super) struct Seat {
    follower: ReplicaId,
    number: u64,
    claimed: oneshot::Receiver<()>,
    seats: Seats,
}

// === impl Seats ===

impl Seats {
    /// A seat for `follower`; `None` when all are taken.
    pub(super) fn take(&self, follower: ReplicaId) -> Option<Seat> {
        let mut plan = self.plan();
        if plan.taken.len() >= SEATS_MAX && !plan.taken.contains_key(&follower) {
            return None;
        }
        let (number, (sender, claimed)) = (plan.next, oneshot::channel());
        plan.next += 1;
        // Dropping the sender that was there tells the older stream.
        plan.taken.insert(follower.clone(), (number, sender));
        drop(plan);
        Some(Seat { follower, number, claimed, seats: self.clone() })
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        // Every change of a plan is whole before anything in it can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Seat ===

impl Seat {
    /// Who sits there.
    pub(super) fn follower(&self) -> &ReplicaId {
        &self.follower
    }

    /// Resolves when the same follower took the seat by a newer stream. Not to be asked again after that.
    pub(super) async fn claimed(&mut self) {
        drop((&mut self.claimed).await);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut plan = self.seats.plan();
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
        let seats = Seats::default();
        let mut old = seats.take(name(1)).unwrap();
        let _new = seats.take(name(1)).unwrap();
        old.claimed().await;
        drop(old);
        assert_eq!(seats.plan().taken.len(), 1, "the old one does not free the new one's seat");
    }

    #[test]
    fn there_are_so_many_seats_and_a_freed_one_is_taken_again() {
        let seats = Seats::default();
        let mut taken: Vec<Seat> = (0..SEATS_MAX).map(|n| seats.take(name(n)).unwrap()).collect();
        assert!(seats.take(name(SEATS_MAX)).is_none());
        assert!(seats.take(name(0)).is_some(), "who sits may come again");
        taken.pop();
        assert!(seats.take(name(SEATS_MAX)).is_some());
    }
}
