//! The requests that are still arriving, in total and by connection, in the order of their last progress.
//!
//! The oldest request may be a long one that is nearly whole. So age alone evicts no request: only a stalled one gives
//! way. When a connection has far too many requests, its oldest one gives way.
//!
//! Must not know what is done with an evicted request: it is notified here, and removed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::connection_id::ConnectionId;

/// A request that has been arriving for less than this never gives way: most are whole within milliseconds.
const EVICT_AFTER: Duration = Duration::from_secs(2);

/// Bytes of a body that count as progress. A request that brings fewer within [`EVICT_AFTER`] is stalled.
const PROGRESS_BYTES: usize = 16 * 1024;

/// All arriving requests.
#[derive(Clone, Debug)]
pub(super) struct Arrivals {
    shared: Arc<Mutex<Shared>>,
    per_connection_max: usize,
}

#[derive(Debug, Default)]
struct Shared {
    next: u64,
    all: BTreeMap<u64, Entry>,
    /// The requests of each connection, oldest first. A connection without any has no entry.
    by_connection: BTreeMap<ConnectionId, BTreeSet<u64>>,
    /// Requests whose body has not begun to arrive, by their last progress.
    empty: BTreeSet<(Instant, u64)>,
    /// Requests that hold bytes, likewise. A request that waits for this replica is in neither set.
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

/// One arriving request. Its drop means that it is whole or gone.
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
    /// No requests yet. One connection may have at most `per_connection_max`.
    pub(super) fn new(per_connection_max: usize) -> Self {
        Self { shared: Arc::default(), per_connection_max }
    }

    /// Whether one more request of this connection may arrive.
    pub(super) fn has_room(&self, connection: ConnectionId) -> bool {
        lock(&self.shared).by_connection.get(&connection).map_or(0, BTreeSet::len) < self.per_connection_max
    }

    /// Registers a request that begins to arrive.
    pub(super) fn enter(&self, connection: ConnectionId) -> Arrival {
        let (evict, evicted) = oneshot::channel();
        let mut shared = lock(&self.shared);
        let number = shared.next;
        shared.next += 1;
        let began = Instant::now();
        shared.all.insert(number, Entry { connection, began, progress: None, holds: false, evict });
        shared.progressed(number, false, Some(began));
        shared.by_connection.entry(connection).or_default().insert(number);
        drop(shared);
        Arrival { shared: self.shared.clone(), number, bytes: 0, evicted }
    }

    /// Evicts the request that has stalled longest, to free its permit; `false` when none is stalled.
    pub(super) fn evict_for_a_permit(&self) -> bool {
        let mut shared = lock(&self.shared);
        let longest = [shared.empty.first(), shared.holding.first()].into_iter().flatten().min().copied();
        shared.evict_stalled(longest)
    }

    /// Evicts the request that has stalled longest and holds bytes, to free memory; `false` when there is none.
    pub(super) fn evict_for_memory(&self) -> bool {
        let mut shared = lock(&self.shared);
        let longest = shared.holding.first().copied();
        shared.evict_stalled(longest)
    }

    /// Evicts the oldest request of this connection; `false` when none has been arriving for [`EVICT_AFTER`].
    pub(super) fn evict_oldest_of(&self, connection: ConnectionId) -> bool {
        let mut shared = lock(&self.shared);
        let oldest = shared.by_connection.get(&connection).and_then(BTreeSet::first).copied();
        let began = oldest.and_then(|number| shared.all.get(&number)).map(|entry| entry.began);
        shared.evict_stalled(began.zip(oldest))
    }
}

// === impl Shared ===

impl Shared {
    /// Evicts the request with this number if the given time is [`EVICT_AFTER`] ago or more.
    fn evict_stalled(&mut self, since: Option<(Instant, u64)>) -> bool {
        let Some((_, number)) = since.filter(|(since, _)| since.elapsed() >= EVICT_AFTER) else { return false };
        // If the request was dropped a moment ago, its permit is free already and the send fails.
        self.remove(number).is_some_and(|entry| entry.evict.send(()).is_ok())
    }

    /// Records when `number` made progress, and whether it holds bytes. `None` means that it waits for this replica,
    /// which is no stall.
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
        if let Some(numbers) = self.by_connection.get_mut(&entry.connection) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_connection.remove(&entry.connection);
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
    /// This many bytes of its body arrived.
    pub(super) fn came(&mut self, bytes: usize) {
        let first = self.bytes == 0;
        self.bytes += bytes;
        if first || self.bytes > PROGRESS_BYTES {
            self.goes_on();
            // One byte stands for the progress that is already counted: only the very first chunk is progress by
            // itself.
            self.bytes = 1;
        }
    }

    /// The request waits until this replica takes its bytes, so it can't make progress.
    pub(super) fn waits(&self) {
        lock(&self.shared).progressed(self.number, true, None);
    }

    /// The wait is over, which counts as progress.
    pub(super) fn goes_on(&self) {
        lock(&self.shared).progressed(self.number, true, Some(Instant::now()));
    }

    /// Resolves when the request must give way.
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
    async fn the_longest_stalled_request_gives_way_for_a_permit() {
        let arrivals = Arrivals::new(9);
        let (mut first, mut second) = (arrivals.enter(ONE), arrivals.enter(OTHER));
        assert!(!arrivals.evict_for_a_permit(), "both just came");
        advance(EVICT_AFTER).await;
        let mut third = arrivals.enter(ONE);
        assert!(arrivals.evict_for_a_permit());
        assert!(is_evicted(&mut first).await && !is_evicted(&mut second).await);
        assert!(arrivals.evict_for_a_permit());
        assert!(is_evicted(&mut second).await);
        assert!(!arrivals.evict_for_a_permit() && !is_evicted(&mut third).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_has_its_limit_and_evicts_its_own_requests() {
        let arrivals = Arrivals::new(2);
        let (mut others, mut first) = (arrivals.enter(OTHER), arrivals.enter(ONE));
        let second = arrivals.enter(ONE);
        assert!(!arrivals.has_room(ONE) && arrivals.has_room(OTHER));
        advance(EVICT_AFTER).await;
        assert!(arrivals.evict_oldest_of(ONE) && arrivals.has_room(ONE));
        assert!(is_evicted(&mut first).await && !is_evicted(&mut others).await);
        others.came(1);
        drop((first, second, others));
        let shared = lock(&arrivals.shared);
        assert!(shared.all.is_empty() && shared.by_connection.is_empty(), "dropped requests leave no entry");
        assert!(shared.empty.is_empty() && shared.holding.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_steady_request_is_never_evicted_and_for_memory_only_one_that_holds_bytes() {
        let arrivals = Arrivals::new(9);
        let [mut steady, mut dripping, mut waiting, mut empty] = [(); 4].map(|()| arrivals.enter(ONE));
        for arrival in [&mut steady, &mut dripping, &mut waiting] {
            arrival.came(1_000_000);
        }
        waiting.waits();
        for _ in 0..10 {
            advance(EVICT_AFTER / 4).await;
            steady.came(PROGRESS_BYTES);
            dripping.came(1);
        }
        assert!(arrivals.evict_for_memory());
        assert!(is_evicted(&mut dripping).await);
        assert!(!arrivals.evict_for_memory(), "one is steady, one waits for this replica, and one holds nothing");
        assert!(arrivals.evict_for_a_permit() && is_evicted(&mut empty).await);
        assert!(!arrivals.evict_for_a_permit());
        assert!(!is_evicted(&mut steady).await && !is_evicted(&mut waiting).await);
        waiting.goes_on();
        advance(EVICT_AFTER).await;
        steady.came(PROGRESS_BYTES);
        assert!(arrivals.evict_for_memory() && is_evicted(&mut waiting).await);
    }
}
