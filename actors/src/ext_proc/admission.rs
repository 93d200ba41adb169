//! Admission: bounds on open streams, on requests that are still arriving, and on the bytes of their bodies.
//!
//! Must not know messages. A count alone does not protect against clients that send slowly, because they hold what
//! others need. So when there is no permit for a new request, or no room for its bytes, a stalled request gives way.

use std::sync::Arc;
use std::time::Duration;

use murmuration::request::{Refusal, RefusalCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::arrivals::{Arrival, Arrivals};
use super::body_memory::{BodyMemory, Room};
use super::connection_id::ConnectionId;
use super::settings::Limits;

/// How long a new request waits for the permit of a request that gives way.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(1);
/// Long bodies that are read at once, at most; the others wait for their turn.
const READERS_MAX: usize = 2;

/// Streams that may be open in addition to those with a permit and an equal number of local replies.
const WITHOUT_PERMIT_MAX: usize = 1_024;

/// What all streams of a service share.
#[derive(Debug)]
pub(super) struct Admission {
    opened: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    arrivals: Arrivals,
    memory: BodyMemory,
    readers: Arc<Semaphore>,
}

/// A stream's place among the open ones. While its request is not whole, also its place among the arriving ones.
#[derive(Debug)]
pub(super) struct RequestPermit {
    _stream: OwnedSemaphorePermit,
    arrival: Option<Arrival>,
    /// Bytes of its body so far.
    body_bytes: usize,
}

// === impl Admission ===

impl Admission {
    pub(super) fn new(limits: &Limits) -> Self {
        let streams_max = limits.streams_max.min(Semaphore::MAX_PERMITS / 4);
        Self {
            opened: Arc::new(Semaphore::new(2 * streams_max + WITHOUT_PERMIT_MAX)),
            streams: Arc::new(Semaphore::new(streams_max)),
            arrivals: Arrivals::new(limits.arriving_per_connection),
            memory: BodyMemory::new(limits.body_bytes_held, usize::try_from(limits.body_bytes).unwrap_or(usize::MAX)),
            readers: Arc::new(Semaphore::new(READERS_MAX)),
        }
    }

    /// Admits an opened stream, which may bring a request, a local reply or nothing. `None` when too many are open.
    pub(super) fn open(&self) -> Option<OwnedSemaphorePermit> {
        self.opened.clone().try_acquire_owned().ok()
    }

    /// Admits a request of this connection.
    ///
    /// # Errors
    /// `too-many-streams` when there is no room, and no request that should give way.
    pub(super) async fn enter(&self, connection: ConnectionId) -> Result<RequestPermit, Refusal> {
        let full = |sentence: &str| Refusal::new(RefusalCode::TooManyStreams, sentence);
        if !self.arrivals.has_room(connection) && !self.arrivals.evict_oldest_of(connection) {
            return Err(full("too many requests of one connection are still arriving; try again shortly"));
        }
        let stream = match self.streams.clone().try_acquire_owned() {
            Ok(stream) => Some(stream),
            Err(_) if self.arrivals.evict_for_a_permit() => {
                timeout(PERMIT_TIMEOUT, self.streams.clone().acquire_owned()).await.ok().and_then(Result::ok)
            }
            Err(_) => None,
        };
        let stream = stream.ok_or_else(|| full("this picker holds as many requests as it may; try again shortly"))?;
        Ok(RequestPermit { _stream: stream, arrival: Some(self.arrivals.enter(connection)), body_bytes: 0 })
    }

    /// Waits until there is room for `bytes` more of the body of the request in `permit`, for `patience` at most. A
    /// stalled request gives way.
    ///
    /// # Errors
    /// `too-many-bytes` when there is none.
    pub(super) async fn hold(
        &self,
        permit: &mut RequestPermit,
        bytes: usize,
        patience: Duration,
    ) -> Result<Option<Room>, Refusal> {
        permit.body_bytes += bytes;
        let so_far = permit.body_bytes;
        let Some(arrival) = permit.arrival.as_mut().filter(|_| bytes > 0) else { return Ok(None) };
        if let Some(held) = self.memory.try_hold(bytes, so_far) {
            arrival.came(bytes);
            return Ok(held);
        }
        self.arrivals.evict_for_memory();
        arrival.waits();
        let held = self.memory.hold(bytes, so_far, patience).await;
        arrival.goes_on();
        held.ok_or_else(|| {
            let sentence = "this picker holds as many bytes of requests as it may; try again shortly";
            Refusal::new(RefusalCode::TooManyBytes, sentence)
        })
    }

    /// Waits for the turn to read a long body, for `patience` at most.
    pub(super) async fn reader(&self, patience: Duration) -> Option<OwnedSemaphorePermit> {
        timeout(patience, self.readers.clone().acquire_owned()).await.ok()?.ok()
    }
}

// === impl RequestPermit ===

impl RequestPermit {
    /// The request is whole: it no longer gives way.
    pub(super) fn arrived(&mut self) {
        self.arrival = None;
    }

    /// Resolves when the request must give way to another one; never once it is whole.
    pub(super) async fn must_give_way(&mut self) {
        match &mut self.arrival {
            Some(arrival) => arrival.evicted().await,
            None => std::future::pending().await,
        }
    }
}
