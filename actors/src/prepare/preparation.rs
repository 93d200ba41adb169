//! The bounds of asking: how many requests at once, how long, and how large.
//!
//! Must not know what is asked.

use std::sync::Arc;
use std::time::Duration;

use murmuration::event::Event;
use murmuration::request::InferenceRequest;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Producer;
use crate::ext_proc::body::Gathered;

/// Requests that are prepared at once; further ones go on unprepared.
pub(super) const PREPARING_MAX: usize = 128;
/// Longer bodies go on unprepared: each is held twice while it is prepared.
pub(super) const BODY_BYTES_MAX: usize = 2 << 20;

/// The producer of a pool, and its bounds.
pub struct Preparation {
    producer: Arc<dyn Producer>,
    pub(super) permits: Semaphore,
}

// === impl Preparation ===

impl Preparation {
    /// Asks `producer`.
    pub fn new(producer: Arc<dyn Producer>) -> Self {
        Self { producer, permits: Semaphore::new(PREPARING_MAX) }
    }

    /// Prepares `request`, which was sent to `path` with `body`. `None` if there was nothing to ask. Waits for `longest`
    /// at most.
    pub async fn prepare(
        &self,
        path: &str,
        body: &Gathered,
        request: &mut InferenceRequest,
        longest: Duration,
    ) -> Option<Event> {
        let deadline = self.producer.deadline(path, request)?.min(longest);
        let result = match self.permits.try_acquire() {
            Ok(_) if body.len() > BODY_BYTES_MAX => "too-large",
            Ok(_permit) => {
                let prepared = timeout(deadline, self.producer.prepare(path, body.copied(), request)).await;
                prepared.unwrap_or(Err("timeout")).map_or_else(|why| why, |()| "ok")
            }
            Err(_) => "busy",
        };
        Some(Event::Prepared { producer: self.producer.name(), result })
    }
}
