//! The requests that are still arriving, of all connections and of each, in the order in which they last made progress.
//!
//! The oldest may be a long one that is nearest to its end, so age alone makes nobody give way: only who stalls does. Of a
//! connection that has far too many, it is the oldest.
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

/// Bytes of a body that are progress. Who brings fewer in [`HAD_ITS_TIME`] stalls.
const PROGRESS_BYTES: usize = 16 * 1024;

/// All of them.
#[derive(Clone, Debug)]
pub(super) struct Arrivals {
    shared: Arc<Mutex<Shared>>,
    per_connection_max: usize,
}

#[derive(Debug, Default)]
struct Shared {
    next: u64,
    all: BTreeMap<u64, Entry>,
    /// Oldest first, by connection; a connection without any is not there.
    of: BTreeMap<ConnectionId, BTreeSet<u64>>,
    /// Those of whose body nothing came yet, by their last progress.
    empty: BTreeSet<(Instant, u64)>,
    /// Those that hold bytes, likewise. Who waits for this replica is in neither.
    holding: BTreeSet<(Instant, u64)>,
}

#[derive(Debug)]
struct Entry {
    connection: ConnectionId,
    began: Instant,
    /// `None` while it waits for this replica.
    progress: Option<Instant>,
    holds: bool,
    evict: oneshot::Sender<()>,
}

/// One of them; its drop says that it is whole or gone.
#[derive(Debug)]
pub(super) struct Arrival {
    shared: Arc<Mutex<Shared>>,
    number: u64,
    /// Bytes since the last progress.
    bytes: usize,
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
        let began = Instant::now();
        shared.all.insert(number, Entry { connection, began, progress: None, holds: false, evict });
        shared.progressed(number, false, Some(began));
        shared.of.entry(connection).or_default().insert(number);
        drop(shared);
        Arrival { shared: self.shared.clone(), number, bytes: 0, evicted }
    }

    /// Tells the request that stalls longest to give way for a seat; `false` when none stalls.
    pub(super) fn evict_for_a_seat(&self) -> bool {
        let mut shared = lock(&self.shared);
        let longest = [shared.empty.first(), shared.holding.first()].into_iter().flatten().min().copied();
        shared.evict_stalled(longest)
    }

    /// Tells the request that stalls longest and holds bytes to give way for memory; `false` when none does.
    pub(super) fn evict_for_memory(&self) -> bool {
        let mut shared = lock(&self.shared);
        let longest = shared.holding.first().copied();
        shared.evict_stalled(longest)
    }

    /// Tells the oldest request of this connection to give way; `false` when there is none that had its time.
    pub(super) fn evict_oldest_of(&self, connection: ConnectionId) -> bool {
        let mut shared = lock(&self.shared);
        let oldest = shared.of.get(&connection).and_then(BTreeSet::first).copied();
        let began = oldest.and_then(|number| shared.all.get(&number)).map(|entry| entry.began);
        shared.evict_stalled(began.zip(oldest))
    }
}

// === impl Shared ===

impl Shared {
    /// Tells the one with this number to give way, if so much time has passed for it.
    fn evict_stalled(&mut self, since: Option<(Instant, u64)>) -> bool {
        let Some((_, number)) = since.filter(|(since, _)| since.elapsed() >= HAD_ITS_TIME) else { return false };
        // Nobody listens to one that was dropped a moment ago, and its seat is free already.
        self.remove(number).is_some_and(|entry| entry.evict.send(()).is_ok())
    }

    /// When `number` made progress, and whether it holds bytes; `None` while it waits for this replica, which is no stall.
    fn progressed(&mut self, number: u64, holds: bool, progress: Option<Instant>) {
        let Some(entry) = self.all.get_mut(&number) else { return };
        let before = std::mem::replace(&mut entry.progress, progress);
        let held = std::mem::replace(&mut entry.holds, holds);
        if let Some(before) = before {
            let order = if held { &mut self.holding } else { &mut self.empty };
            order.remove(&(before, number));
        }
        let order = if holds { &mut self.holding } else { &mut self.empty };
        order.extend(progress.map(|progress| (progress, number)));
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        self.progressed(number, false, None);
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
    /// So many bytes of its body came.
    pub(super) fn came(&mut self, bytes: usize) {
        let first = self.bytes == 0;
        self.bytes += bytes;
        if first || self.bytes > PROGRESS_BYTES {
            self.goes_on();
            // One byte stands for the progress that is counted already: only the first chunk of all is progress by itself.
            self.bytes = 1;
        }
    }

    /// It waits for this replica to take its bytes, and can't make progress.
    pub(super) fn waits(&self) {
        lock(&self.shared).progressed(self.number, true, None);
    }

    /// It waits no more.
    pub(super) fn goes_on(&self) {
        lock(&self.shared).progressed(self.number, true, Some(Instant::now()));
    }

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
    async fn who_stalls_longest_gives_way_for_a_seat_once_it_had_its_time() {
        let arrivals = Arrivals::new(9);
        let (mut first, mut second) = (arrivals.enter(ONE), arrivals.enter(OTHER));
        assert!(!arrivals.evict_for_a_seat(), "both just came");
        advance(HAD_ITS_TIME).await;
        let mut third = arrivals.enter(ONE);
        assert!(arrivals.evict_for_a_seat());
        assert!(is_evicted(&mut first).await && !is_evicted(&mut second).await);
        assert!(arrivals.evict_for_a_seat());
        assert!(is_evicted(&mut second).await);
        assert!(!arrivals.evict_for_a_seat() && !is_evicted(&mut third).await);
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
        others.came(1);
        drop((first, second, others));
        let shared = lock(&arrivals.shared);
        assert!(shared.all.is_empty() && shared.of.is_empty(), "nothing is left of those who are gone");
        assert!(shared.empty.is_empty() && shared.holding.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_brings_bytes_steadily_never_gives_way_and_for_memory_only_who_holds_some() {
        let arrivals = Arrivals::new(9);
        let [mut steady, mut dripping, mut waiting, mut empty] = [(); 4].map(|()| arrivals.enter(ONE));
        for arrival in [&mut steady, &mut dripping, &mut waiting] {
            arrival.came(1_000_000);
        }
        waiting.waits();
        for _ in 0..10 {
            advance(HAD_ITS_TIME / 4).await;
            steady.came(PROGRESS_BYTES);
            dripping.came(1);
        }
        assert!(arrivals.evict_for_memory());
        assert!(is_evicted(&mut dripping).await);
        assert!(!arrivals.evict_for_memory(), "one is steady, one waits for us, and one holds nothing");
        assert!(arrivals.evict_for_a_seat() && is_evicted(&mut empty).await);
        assert!(!arrivals.evict_for_a_seat());
        assert!(!is_evicted(&mut steady).await && !is_evicted(&mut waiting).await);
        waiting.goes_on();
        advance(HAD_ITS_TIME).await;
        steady.came(PROGRESS_BYTES);
        assert!(arrivals.evict_for_memory() && is_evicted(&mut waiting).await);
    }
}
