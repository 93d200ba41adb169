//! One budget of bytes for the bodies of all requests that are arriving, being read or being sent on.
//!
//! A part of it is kept for short bodies, so that a few long ones hold up nobody else.
//!
//! Must not know streams. A request that waits for room already has a chunk in memory, so what waits is bounded too.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Bytes of a short body at most: a prompt of some 60,000 tokens.
const SHORT_BODY: usize = 256 << 10;

/// The budget. A permit is a byte.
#[derive(Debug)]
pub(super) struct BodyMemory {
    held: Arc<Semaphore>,
    /// For short bodies alone.
    short: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// The bytes that one body holds, until it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    held: Option<OwnedSemaphorePermit>,
    short: Option<OwnedSemaphorePermit>,
}

// === impl Room ===

impl Room {
    /// Adds what more of the same body holds.
    pub(super) fn merge(&mut self, more: Self) {
        for (all, more) in [(&mut self.held, more.held), (&mut self.short, more.short)] {
            match (all.as_mut(), more) {
                (Some(all), Some(more)) => all.merge(more),
                (None, Some(more)) => *all = Some(more),
                (_, None) => {}
            }
        }
    }

    /// How many bytes that is.
    pub(super) fn bytes(&self) -> usize {
        [&self.held, &self.short].into_iter().flatten().map(OwnedSemaphorePermit::num_permits).sum()
    }
}

// === impl BodyMemory ===

impl BodyMemory {
    /// A budget of `bytes` for bodies of up to `largest` bytes each. An eighth of it is for short bodies, unless a largest
    /// one would not fit into the rest. Chunks of up to a quarter of it in total may wait.
    pub(super) fn new(bytes: usize, largest: usize) -> Self {
        let permits = |bytes: usize| Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)));
        let short = (bytes / 8).min(bytes.saturating_sub(largest));
        Self { held: permits(bytes - short), short: permits(short), waiting: permits(bytes / 4) }
    }

    /// Takes `bytes` of a body, of which there are `so_far` with them, if there is room now; `Some(None)` for no bytes at
    /// all.
    pub(super) fn try_hold(&self, bytes: usize, so_far: usize) -> Option<Option<Room>> {
        if bytes == 0 {
            return Some(None);
        }
        let take = |from: &Arc<Semaphore>| from.clone().try_acquire_many_owned(permits(bytes)).ok();
        if let Some(held) = take(&self.held) {
            return Some(Some(Room { held: Some(held), short: None }));
        }
        let short = Some(&self.short).filter(|_| so_far <= SHORT_BODY).and_then(take)?;
        Some(Some(Room { held: None, short: Some(short) }))
    }

    /// The same, and waits for room, for `patience` at most: a short body takes whichever part has it first. `None` when
    /// there is none by then, or at once when too many bytes wait already.
    pub(super) async fn hold(&self, bytes: usize, so_far: usize, patience: Duration) -> Option<Option<Room>> {
        let _waits = self.waiting.clone().try_acquire_many_owned(permits(bytes)).ok()?;
        let take = |from: &Arc<Semaphore>| from.clone().acquire_many_owned(permits(bytes));
        let room = async {
            tokio::select! {
                biased;
                held = take(&self.held) => Room { held: held.ok(), short: None },
                short = take(&self.short), if so_far <= SHORT_BODY => Room { held: None, short: short.ok() },
            }
        };
        timeout(patience, room).await.ok().map(Some)
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
        let memory = BodyMemory::new(100, 100);
        let first = memory.try_hold(90, 90).unwrap();
        assert!(memory.try_hold(20, 20).is_none());
        assert!(memory.hold(20, 20, PATIENCE).await.is_none(), "no room was freed");
        let (second, ()) = tokio::join!(memory.hold(20, 20, PATIENCE), async { drop(first) });
        assert!(second.unwrap().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_a_quarter_never_waits() {
        let memory = BodyMemory::new(100, 100);
        let _all = memory.try_hold(100, 100).unwrap();
        let begun = tokio::time::Instant::now();
        assert!(memory.hold(26, 26, PATIENCE).await.is_none());
        assert!(begun.elapsed().is_zero(), "refused at once");
    }

    #[test]
    fn long_bodies_leave_room_for_short_ones() {
        let memory = BodyMemory::new(8 << 20, 1 << 20);
        let long = memory.try_hold(7 << 20, 7 << 20).unwrap();
        assert!(memory.try_hold(1, SHORT_BODY + 1).is_none(), "one byte more of another long one");
        let short: Vec<_> = (0..5).map(|_| memory.try_hold(SHORT_BODY, SHORT_BODY)).collect();
        assert_eq!(short.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, true, true, false]);
        drop(long);
        let mut grows = memory.try_hold(1 << 20, 1 << 20).unwrap().unwrap();
        short.into_iter().flatten().flatten().for_each(|more| grows.merge(more));
        assert_eq!(grows.bytes(), 2 << 20, "of both parts");
        drop(grows);
        assert!(memory.try_hold(7 << 20, 7 << 20).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_body_waits_for_whichever_part_has_room_first() {
        let memory = BodyMemory::new(8 << 20, 1 << 20);
        let _long = memory.try_hold(7 << 20, 7 << 20).unwrap();
        let mut short: Vec<_> = (0..4).map(|_| memory.try_hold(SHORT_BODY, SHORT_BODY).unwrap()).collect();
        let freed = short.pop();
        let waits = |so_far| memory.hold(SHORT_BODY, so_far, PATIENCE);
        let (long, waited, ()) = tokio::join!(waits(SHORT_BODY + 1), waits(SHORT_BODY), async { drop(freed) });
        assert!(long.is_none(), "what is kept for short ones is not for it");
        assert_eq!(waited.unwrap().map(|room| room.bytes()), Some(SHORT_BODY));
    }

    #[test]
    fn no_bytes_need_no_room() {
        let memory = BodyMemory::new(1, 1);
        let _all = memory.try_hold(1, 1).unwrap();
        assert!(memory.try_hold(0, 0).unwrap().is_none());
    }
}
