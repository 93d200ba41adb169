//! One budget of bytes for the bodies of all requests that are arriving, being read or being sent on.
//!
//! Must not know streams. A request that waits for room already has a chunk in memory, so what waits is bounded too.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The budget. A permit is a byte.
#[derive(Debug)]
pub(super) struct BodyMemory {
    held: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

// === impl BodyMemory ===

impl BodyMemory {
    /// A budget of `bytes`. Chunks of up to a quarter of it in total may wait.
    pub(super) fn new(bytes: usize) -> Self {
        let permits = |bytes: usize| Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)));
        Self { held: permits(bytes), waiting: permits(bytes / 4) }
    }

    /// Takes `bytes` if there is room now; `Some(None)` for no bytes at all.
    pub(super) fn try_hold(&self, bytes: usize) -> Option<Option<OwnedSemaphorePermit>> {
        if bytes == 0 {
            return Some(None);
        }
        self.held.clone().try_acquire_many_owned(permits(bytes)).ok().map(Some)
    }

    /// Waits for room, for `patience` at most. `None` when there is none by then, or at once when too many bytes wait
    /// already.
    pub(super) async fn hold(&self, bytes: usize, patience: Duration) -> Option<Option<OwnedSemaphorePermit>> {
        let _waits = self.waiting.clone().try_acquire_many_owned(permits(bytes)).ok()?;
        let held = timeout(patience, self.held.clone().acquire_many_owned(permits(bytes))).await;
        held.ok()?.ok().map(Some)
    }
}

/// A chunk is a gRPC message, which is shorter than 4 GiB.
fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn room_is_waited_for_and_only_so_long() {
        let memory = BodyMemory::new(100);
        let first = memory.try_hold(90).unwrap();
        assert!(memory.try_hold(20).is_none());
        assert!(memory.hold(20, PATIENCE).await.is_none(), "no room was freed");
        let (second, ()) = tokio::join!(memory.hold(20, PATIENCE), async { drop(first) });
        assert!(second.unwrap().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_a_quarter_never_waits() {
        let memory = BodyMemory::new(100);
        let _all = memory.try_hold(100).unwrap();
        let begun = tokio::time::Instant::now();
        assert!(memory.hold(26, PATIENCE).await.is_none());
        assert!(begun.elapsed().is_zero(), "refused at once");
    }

    #[test]
    fn no_bytes_need_no_room() {
        let memory = BodyMemory::new(1);
        let _all = memory.try_hold(1).unwrap();
        assert!(memory.try_hold(0).unwrap().is_none());
    }
}
