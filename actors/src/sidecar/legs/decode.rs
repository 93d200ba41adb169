//! The decode leg, whose answer is the client's.
//!
//! Must not know what a prefill leg left.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;

use crate::sidecar::answer::{Answer, not_arrived, passing, refusal};
use crate::sidecar::asked::Asked;
use crate::sidecar::cached_tokens::CachedTokens;
use crate::sidecar::client::{LegError, RequestBody};
use crate::sidecar::shared::{LegTimer, Shared};
use crate::sidecar::target::Target;

/// A decode leg whose answer has begun.
pub(in crate::sidecar) struct Begun {
    pub(in crate::sidecar) answer: Response<Incoming>,
    pub(in crate::sidecar) timer: LegTimer,
}

/// Sends `request` to the decode engine and passes its answer on.
pub(in crate::sidecar) async fn run(
    shared: &Arc<Shared>,
    decoder: &Target,
    connector: &'static str,
    request: Request<RequestBody>,
) -> Answer {
    match begin(shared, decoder, connector, request).await {
        Ok(begun) => pass(shared, begun, VecDeque::new(), None),
        Err(error) => failed(shared, decoder, &error),
    }
}

/// Sends `request`, and waits for the head of its answer.
pub(in crate::sidecar) async fn begin(
    shared: &Arc<Shared>,
    decoder: &Target,
    connector: &'static str,
    request: Request<RequestBody>,
) -> Result<Begun, LegError> {
    let timer = LegTimer::start(shared, connector, "decode", decoder);
    match shared.decode.send(decoder, request, shared.settings.deadlines.decode).await {
        Ok(answer) => Ok(Begun { answer, timer }),
        Err(error) => {
            timer.end(error.as_str());
            Err(error)
        }
    }
}

/// Passes an answer on. `cached` is what the prefill engine said of the prompt; `None` if there was none.
pub(in crate::sidecar) fn pass(
    shared: &Shared,
    begun: Begun,
    ready: VecDeque<Bytes>,
    cached: Option<Option<u64>>,
) -> Answer {
    let Begun { answer, timer } = begun;
    let rewriter = cached
        .filter(|_| answer.status().is_success() && is_plain(answer.headers()))
        .map(|cached| CachedTokens::new(cached, is_stream(answer.headers())));
    passing(answer, ready, shared.settings.deadlines.decode, rewriter, timer)
}

/// The answer when the decode engine gave none.
pub(in crate::sidecar) fn failed(shared: &Shared, decoder: &Target, error: &LegError) -> Answer {
    let (status, hint) = match error {
        LegError::NotArrived(why) => return not_arrived(shared, *why),
        LegError::Connect(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "; is it running, and is --model-server-port its port?")
        }
        LegError::Timeout => (StatusCode::GATEWAY_TIMEOUT, ""),
        LegError::Broken(_) | LegError::TooLarge => (StatusCode::BAD_GATEWAY, ""),
    };
    refusal(shared, status, "decode", format!("the decode engine {decoder}: {error}{hint}"))
}

/// Whether these are the headers of a stream of events that can be read.
pub(in crate::sidecar) fn is_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    is_plain(headers) && kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
}

/// Whether an answer is not encoded. An engine may encode one though it is asked not to.
fn is_plain(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity")
}

/// The decode engine serves the whole request.
pub(in crate::sidecar) async fn alone(
    shared: &Arc<Shared>,
    asked: &Asked,
    connector: &'static str,
    body: String,
) -> Answer {
    run(shared, &asked.decoder, connector, asked.decode(body)).await
}
