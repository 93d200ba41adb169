//! The bounds of asking: how many requests at once, how many bytes, and how long.
//!
//! Must not know what is asked.

use std::time::Duration;

use futures_util::future::join_all;
use murmuration::event::Event;
use murmuration::plugin::{Learned, Producer, RequestBody, Unprepared};
use murmuration::request::InferenceRequest;
use murmuration::schedule::named::Named;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::ext_proc::body::Gathered;

/// Requests that are prepared at once; further ones go on unprepared.
pub(super) const PREPARING_MAX: usize = 128;
/// Longer bodies go on unprepared.
pub(super) const BODY_BYTES_MAX: usize = 2 << 20;
/// Bytes of all bodies that are prepared at once: each is held a second time.
pub(super) const BYTES_MAX: usize = 64 << 20;
/// The unit in which those bytes are counted.
const UNIT: usize = 1 << 10;

/// The producers of a pool, and their bounds.
pub struct Preparation {
    producers: Vec<Named<dyn Producer>>,
    pub(super) permits: Semaphore,
    pub(super) units: Semaphore,
}

/// A place among those that are prepared.
struct Room<'p> {
    _permit: SemaphorePermit<'p>,
    _units: SemaphorePermit<'p>,
}

// === impl Preparation ===

impl Preparation {
    /// Asks `producers`; `None` if there are none.
    pub fn new(producers: Vec<Named<dyn Producer>>) -> Option<Self> {
        let (permits, units) = (Semaphore::new(PREPARING_MAX), Semaphore::new(BYTES_MAX / UNIT));
        (!producers.is_empty()).then_some(Self { producers, permits, units })
    }

    /// Prepares `request`, which was sent to `path` with `body`. Waits for `longest` at most. Returns an event for each
    /// producer that had something to say of such requests.
    pub async fn prepare(
        &self,
        path: &str,
        body: &Gathered,
        request: &mut InferenceRequest,
        longest: Duration,
    ) -> Vec<Event> {
        let deadline = |producer: &Named<dyn Producer>| producer.plugin.deadline(path, request);
        let asked = self.producers.iter().filter_map(|producer| Some((producer, deadline(producer)?.min(longest))));
        let asked: Vec<_> = asked.collect();
        if asked.is_empty() {
            return Vec::new();
        }
        let learned = match self.room(body.len()) {
            Ok(_room) => {
                let body = RequestBody::from(body.copied());
                let unprepared = Unprepared { path, body: &body, request };
                let each = asked.iter().map(|(producer, within)| timeout(*within, producer.plugin.learn(unprepared)));
                join_all(each).await.into_iter().map(|learned| learned.unwrap_or(Err("timeout"))).collect()
            }
            Err(why) => vec![Err(why); asked.len()],
        };
        let results = learned.into_iter().map(|learned: Result<Learned, _>| learned?.add_to(request));
        let events = asked.iter().zip(results).map(|((producer, _), result)| Event::Prepared {
            producer: producer.kind,
            result: result.map_or_else(|why| why, |()| "ok"),
        });
        events.collect()
    }

    fn room(&self, bytes: usize) -> Result<Room<'_>, &'static str> {
        if bytes > BODY_BYTES_MAX {
            return Err("too-large");
        }
        let permit = self.permits.try_acquire().map_err(|_| "busy")?;
        let units = u32::try_from(bytes.div_ceil(UNIT)).map_err(|_| "too-large")?;
        let units = self.units.try_acquire_many(units).map_err(|_| "busy")?;
        Ok(Room { _permit: permit, _units: units })
    }
}
