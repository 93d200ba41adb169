//! A request that may be split, as it arrived, and the body of one, gathered within bounds.
//!
//! Must not know what it asks for.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body, Incoming};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::api::Api;
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

/// Why a body did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotGathered {
    TooLarge,
    TooSlow,
    NoMemory,
    Broken,
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

// === impl Gathered ===

impl Gathered {
    /// Reads the whole body. An engine needs it whole, too, so nobody waits longer for that.
    pub(super) async fn read(shared: &Shared, mut body: Incoming) -> Result<Self, NotGathered> {
        let (limits, pause) = (shared.settings.limits, shared.settings.deadlines.arrival);
        let expected = body.size_hint().exact().unwrap_or(0);
        if expected > limits.body_bytes as u64 {
            return Err(NotGathered::TooLarge);
        }
        let (mut bytes, mut held) = (BytesMut::with_capacity((expected as usize).min(1 << 20)), None);
        while let Some(frame) = next(&mut body, pause).await? {
            if bytes.len() + frame.len() > limits.body_bytes {
                return Err(NotGathered::TooLarge);
            }
            let permits = u32::try_from(frame.len()).unwrap_or(u32::MAX);
            let permit = shared.memory.clone().try_acquire_many_owned(permits).map_err(|_| NotGathered::NoMemory)?;
            held = Some(with(held, permit));
            bytes.extend_from_slice(&frame);
        }
        Ok(Self { bytes: bytes.freeze(), _held: held })
    }
}

/// One permit for both, so that a body in many small pieces has no permit for each.
fn with(held: Option<OwnedSemaphorePermit>, more: OwnedSemaphorePermit) -> OwnedSemaphorePermit {
    let Some(mut held) = held else { return more };
    held.merge(more);
    held
}

async fn next(body: &mut Incoming, pause: Duration) -> Result<Option<Bytes>, NotGathered> {
    loop {
        match timeout(pause, body.frame()).await.map_err(|_| NotGathered::TooSlow)? {
            None => return Ok(None),
            Some(Err(_)) => return Err(NotGathered::Broken),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    #[test]
    fn the_permits_of_all_pieces_are_one() {
        let memory = Arc::new(Semaphore::new(10));
        let take = |permits| memory.clone().try_acquire_many_owned(permits).unwrap();
        let held = with(Some(with(None, take(3))), take(4));
        assert_eq!((held.num_permits(), memory.available_permits()), (7, 3));
        drop(held);
        assert_eq!(memory.available_permits(), 10);
    }
}
