//! The version of a decode engine, as it tells it at `/version`. It is known for a while, so that hardly a request asks.
//!
//! Must not know what is compared with it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{Either, Full};
use tokio::time::Instant;

use super::client::{EngineClient, RequestBody};
use super::fields::Fields;
use super::target::Target;

/// How long a version is believed. An engine of another version is another container, mostly in another pod.
const KNOWN: Duration = Duration::from_secs(60);
/// How long an engine that tells none is not asked again.
const UNKNOWN: Duration = Duration::from_secs(5);
/// How long an engine may take to tell its version.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The longest answer.
const BYTES_MAX: usize = 64 << 10;

/// What the decode engines of this pod said, and until when that counts.
#[derive(Debug, Default)]
pub(super) struct Versions(Mutex<BTreeMap<Target, (Instant, Option<String>)>>);

// === impl Versions ===

impl Versions {
    /// The version of the engine at `decoder`; `None` if it tells none.
    pub(super) async fn of(&self, client: &EngineClient, decoder: &Target) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(decoder).cloned();
        if let Some((_, version)) = known.filter(|(until, _)| Instant::now() < *until) {
            return version;
        }
        let mut request: Request<RequestBody> = Request::new(Either::Left(Full::<Bytes>::default()));
        *request.uri_mut() = Uri::from_static("/version");
        let answer = client.whole(decoder, request, TIMEOUT, BYTES_MAX).await.ok();
        let body = answer.filter(|answer| answer.status().is_success()).map(|answer| answer.into_body());
        let fields = body.as_ref().and_then(|body| Fields::read(body).ok());
        let version = fields.and_then(|fields| fields.read_as::<String>("version"));
        let until = Instant::now() + if version.is_some() { KNOWN } else { UNKNOWN };
        // The engines of this pod: one for each rank.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(decoder.clone(), (until, version.clone()));
        version
    }
}
