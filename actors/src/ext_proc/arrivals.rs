//! The requests that are still arriving, in the order in which they began, of all connections and of each.
//!
//! Must not know what is done with one that must give way: it is told, and forgotten here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::connection_id::ConnectionId;

/// A request that has been arriving for less than this never gives way: most are whole within milliseconds.
const HAD_ITS_TIME: Duration = Duration::from_secs(2);

/// All of them.
#[derive(Clone, Debug)]
pub(super) struct Arrivals {
    shared: Arc<Mutex<Shared>>,
    per_connection_max: usize,
}

#[derive(Debug, Default)]
struct Shared {
    next: u64,
    /// Oldest first.
    all: BTreeMap<u64, Entry>,
    /// The same by connection; a connection without any is not there.
    of: BTreeMap<ConnectionId, BTreeSet<u64>>,
}

#[derive(Debug)]
struct Entry {
    connection: ConnectionId,
    began: Instant,
    evict: oneshot::Sender<()>,
}

/// One of them; its drop says that it is whole or gone.
#[derive(Debug)]
pub(super) struct Arrival {
    shared: Arc<Mutex<Shared>>,
    number: u64,
    evicted: oneshot::Receiver<()>,
}

// === impl Arrivals ===

impl Arrivals {
    /// Nobody is arriving; of one connection at most `per_connection_max` requests may.
    pub(super) fn new(per_connection_max: usize) -> Self {
        Self { shared: Arc::default(), per_connection_max }
    }

    /// Whether one more request of this connection may arrive.
    pub(super) fn has_room(&self, connection: ConnectionId) -> bool {
        lock(&self.shared).of.get(&connection).map_or(0, BTreeSet::len) < self.per_connection_max
    }

    /// A request begins to arrive.
    pub(super) fn enter(&self, connection: ConnectionId) -> Arrival {
        let (evict, evicted) = oneshot::channel();
        let mut shared = lock(&self.shared);
        let number = shared.next;
        shared.next += 1;
        shared.all.insert(number, Entry { connection, began: Instant::now(), evict });
        shared.of.entry(connection).or_default().insert(number);
        drop(shared);
        Arrival { shared: self.shared.clone(), number, evicted }
    }

    /// Tells the oldest request of all to give way; `false` when there is none that had its time.
    pub(super) fn evict_oldest(&self) -> bool {
        let mut shared = lock(&self.shared);
        let oldest = shared.all.keys().next().copied();
        shared.evict(oldest)
    }

    /// Tells the oldest request of this connection to give way; `false` when there is none that had its time.
    pub(super) fn evict_oldest_of(&self, connection: ConnectionId) -> bool {
        let mut shared = lock(&self.shared);
        let oldest = shared.of.get(&connection).and_then(BTreeSet::first).copied();
        shared.evict(oldest)
    }
}

// === impl Shared ===

impl Shared {
    fn evict(&mut self, number: Option<u64>) -> bool {
        let had_its_time = |entry: &&Entry| entry.began.elapsed() >= HAD_ITS_TIME;
        let Some(number) = number.filter(|number| self.all.get(number).filter(had_its_time).is_some()) else {
            return false;
        };
        // Nobody listens to one that was dropped a moment ago, and its seat is free already.
        self.remove(number).is_some_and(|entry| entry.evict.send(()).is_ok())
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.all.remove(&number)?;
        if let Some(of) = self.of.get_mut(&entry.connection) {
            of.remove(&number);
            if of.is_empty() {
                self.of.remove(&entry.connection);
            }
        }
        Some(entry)
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Arrival ===

impl Arrival {
    /// Resolves when it must give way.
    pub(super) async fn evicted(&mut self) {
        if (&mut self.evicted).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        lock(&self.shared).remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    const ONE: ConnectionId = ConnectionId(1);
    const OTHER: ConnectionId = ConnectionId(2);

    async fn is_evicted(arrival: &mut Arrival) -> bool {
        timeout(Duration::ZERO, arrival.evicted()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_gives_way_once_it_had_its_time() {
        let arrivals = Arrivals::new(9);
        let (mut first, mut second) = (arrivals.enter(ONE), arrivals.enter(OTHER));
        assert!(!arrivals.evict_oldest(), "both just came");
        advance(HAD_ITS_TIME).await;
        let mut third = arrivals.enter(ONE);
        assert!(arrivals.evict_oldest());
        assert!(is_evicted(&mut first).await && !is_evicted(&mut second).await);
        assert!(arrivals.evict_oldest());
        assert!(is_evicted(&mut second).await);
        assert!(!arrivals.evict_oldest() && !is_evicted(&mut third).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_has_its_share_and_evicts_its_own() {
        let arrivals = Arrivals::new(2);
        let (mut others, mut first) = (arrivals.enter(OTHER), arrivals.enter(ONE));
        let second = arrivals.enter(ONE);
        assert!(!arrivals.has_room(ONE) && arrivals.has_room(OTHER));
        advance(HAD_ITS_TIME).await;
        assert!(arrivals.evict_oldest_of(ONE) && arrivals.has_room(ONE));
        assert!(is_evicted(&mut first).await && !is_evicted(&mut others).await);
        drop((first, second, others));
        let shared = lock(&arrivals.shared);
        assert!(shared.all.is_empty() && shared.of.is_empty(), "nothing is left of those who are gone");
    }
}
