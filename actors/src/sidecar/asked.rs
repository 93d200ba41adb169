//! A request that may be split, as it arrived, and the body of one, gathered within bounds.
//!
//! Must not know what it asks for.

use std::sync::Arc;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::api::Api;
use super::arriving::{Arriving, NotArrived};
use super::client::RequestBody;
use super::headers;
use super::shared::Shared;
use super::target::Target;

/// A request, without its body and without the headers that say where its legs go.
pub(super) struct Asked {
    pub(super) api: Api,
    pub(super) path: PathAndQuery,
    pub(super) headers: HeaderMap,
    /// `x-request-id`: the same on all legs.
    pub(super) id: HeaderValue,
    /// The decode engine.
    pub(super) decoder: Target,
}

/// A body that has arrived, and its share of the memory for bodies.
pub(super) struct Gathered {
    pub(super) bytes: Bytes,
    _held: Option<OwnedSemaphorePermit>,
}

/// The memory of a body that is arriving.
struct Room {
    memory: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

/// Why a body was not gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotGathered {
    TooLarge,
    NoMemory,
    NotArrived(NotArrived),
}

// === impl Asked ===

impl Asked {
    /// The decode leg with this body.
    pub(super) fn decode(&self, body: String) -> Request<RequestBody> {
        self.request(headers::of_rewritten(&self.headers, &self.id), body.into())
    }

    /// The request for the decode engine alone, with a body of the same type.
    pub(super) fn passed(&self, body: Bytes) -> Request<RequestBody> {
        self.request(headers::of_passed(&self.headers), body)
    }

    /// A leg at another engine with this body.
    pub(super) fn leg(&self, body: String) -> Request<RequestBody> {
        self.request(headers::of_leg(&self.headers, &self.id), body.into())
    }

    fn request(&self, headers: HeaderMap, body: Bytes) -> Request<RequestBody> {
        let mut request = Request::new(Either::Left(Full::new(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from(self.path.clone());
        *request.headers_mut() = headers;
        request
    }
}

// === impl Gathered, Room ===

impl Gathered {
    /// Reads the whole body. An engine needs it whole, too, so nobody waits longer for that.
    pub(super) async fn read(shared: &Shared, mut body: Arriving) -> Result<Self, NotGathered> {
        let limit = shared.settings.limits.body_bytes;
        let expected = usize::try_from(body.size_hint().exact().unwrap_or(0)).unwrap_or(usize::MAX);
        if expected > limit {
            return Err(NotGathered::TooLarge);
        }
        let mut room = Room { memory: shared.memory.clone(), held: None };
        let mut bytes = Vec::new();
        // All that is expected at once: of many bodies that come in part none would be served.
        room.make(&mut bytes, expected, limit)?;
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame.map_err(NotGathered::NotArrived)?.into_data() else { continue };
            if bytes.len() + piece.len() > limit {
                return Err(NotGathered::TooLarge);
            }
            let length = bytes.len() + piece.len();
            room.make(&mut bytes, length, limit)?;
            bytes.extend_from_slice(&piece);
        }
        Ok(Self { bytes: bytes.into(), _held: room.held })
    }
}

impl Room {
    /// Makes room for a body of `length` bytes, of which none has more than `limit`. One of unknown length gets twice its
    /// room each time, where there is as much.
    fn make(&mut self, bytes: &mut Vec<u8>, length: usize, limit: usize) -> Result<(), NotGathered> {
        let has = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if length <= has {
            return Ok(());
        }
        let doubled = (2 * has).min(limit).max(length);
        let taken = [doubled, length].into_iter().find_map(|room| self.take(room - has));
        let taken = taken.ok_or(NotGathered::NoMemory)?;
        let room = has + taken.num_permits();
        match &mut self.held {
            // One permit for all, so that a body in many small pieces has no permit for each.
            Some(held) => held.merge(taken),
            None => self.held = Some(taken),
        }
        bytes.reserve_exact(room - bytes.len());
        Ok(())
    }

    fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        self.memory.clone().try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn room(bytes: usize) -> (Arc<Semaphore>, Room, Vec<u8>) {
        let memory = Arc::new(Semaphore::new(bytes));
        (memory.clone(), Room { memory, held: None }, Vec::new())
    }

    #[test]
    fn a_body_of_known_length_takes_that_and_once() {
        let (memory, mut room, mut bytes) = room(1_000);
        room.make(&mut bytes, 400, 10_000).unwrap();
        assert_eq!((memory.available_permits(), bytes.capacity()), (600, 400));
        room.make(&mut bytes, 17, 10_000).unwrap();
        assert_eq!((memory.available_permits(), bytes.capacity()), (600, 400));
        drop(room);
        assert_eq!(memory.available_permits(), 1_000);
    }

    #[test]
    fn a_body_of_unknown_length_doubles_where_it_may_and_else_takes_what_it_needs() {
        let (memory, mut room, mut bytes) = room(1_000);
        for (length, has) in [(100, 100), (101, 200), (201, 400), (401, 800), (801, 801), (1_000, 1_000)] {
            room.make(&mut bytes, length, 100_000).unwrap();
            bytes.resize(length, 0);
            assert_eq!((1_000 - memory.available_permits(), bytes.capacity()), (has, has), "{length}");
        }
        assert_eq!(room.make(&mut bytes, 1_001, 100_000), Err(NotGathered::NoMemory));
        let (memory, mut room, mut bytes) = self::room(1_000);
        room.make(&mut bytes, 300, 500).unwrap();
        room.make(&mut bytes, 301, 500).unwrap();
        assert_eq!(memory.available_permits(), 500, "no body is larger");
    }
}
