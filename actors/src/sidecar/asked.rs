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
    _held: Vec<OwnedSemaphorePermit>,
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
        let (mut bytes, mut held) = (BytesMut::with_capacity((expected as usize).min(1 << 20)), Vec::new());
        while let Some(frame) = next(&mut body, pause).await? {
            if bytes.len() + frame.len() > limits.body_bytes {
                return Err(NotGathered::TooLarge);
            }
            let permits = u32::try_from(frame.len()).unwrap_or(u32::MAX);
            let permit = shared.memory.clone().try_acquire_many_owned(permits).map_err(|_| NotGathered::NoMemory)?;
            held.push(permit);
            bytes.extend_from_slice(&frame);
        }
        Ok(Self { bytes: bytes.freeze(), _held: held })
    }
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
