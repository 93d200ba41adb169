//! Answers: an engine's, piece by piece as they come, or the sidecar's own.
//!
//! Must not know legs.

use std::collections::VecDeque;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use murmuration::event::SidecarEvent;
use serde_json::json;

use super::arriving::NotArrived;
use super::cached_tokens::CachedTokens;
use super::headers::remove_hop_by_hop;
use super::shared::{LegTimer, Shared};
use super::silence::Silence;

/// What clients get.
pub(super) type Answer = Response<AnswerBody>;

/// The body of an answer.
#[derive(Default)]
pub(super) struct AnswerBody {
    /// Pieces that are passed before the engine's.
    ready: VecDeque<Bytes>,
    engine: Option<Engine>,
    /// Another leg that may still run. It ends with the answer at the latest.
    beside: Option<Beside>,
}

/// A leg whose result is not waited for.
pub(super) type Beside = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An engine's answer that is still coming.
struct Engine {
    body: Incoming,
    silence: Silence,
    rewriter: Option<CachedTokens>,
    timer: Option<LegTimer>,
    failed: bool,
}

type BoxError = Box<dyn Error + Send + Sync>;

/// An answer in one piece.
pub(super) fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let body = body.into();
    let ready = if body.is_empty() { VecDeque::new() } else { VecDeque::from([body]) };
    let mut answer = Response::new(AnswerBody { ready, ..AnswerBody::default() });
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// The sidecar's own answer to a request that it can't serve, in the form of OpenAI's API.
pub(super) fn refusal(shared: &Shared, status: StatusCode, code: &'static str, why: String) -> Answer {
    let error = json!({ "message": why, "type": kind(status), "param": null, "code": status.as_u16() });
    let answer = text(status, "application/json", json!({ "error": error }).to_string());
    shared.emit(SidecarEvent::Refused { code, why });
    answer
}

/// The answer to a request that did not arrive.
pub(super) fn not_arrived(shared: &Shared, why: NotArrived) -> Answer {
    let (status, code) = match why {
        NotArrived::TooSlow => (StatusCode::REQUEST_TIMEOUT, "too-slow"),
        NotArrived::Broken => (StatusCode::BAD_REQUEST, "bad-body"),
    };
    refusal(shared, status, code, why.to_string())
}

/// The field `type` of an error, as vLLM writes it.
fn kind(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_GATEWAY => "BadGateway",
        StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailable",
        StatusCode::GATEWAY_TIMEOUT => "GatewayTimeout",
        StatusCode::FORBIDDEN => "Forbidden",
        _ => "BadRequestError",
    }
}

/// A leg's answer that was read here, passed on as it is.
pub(super) fn verbatim(answer: Response<Bytes>) -> Answer {
    let (mut head, body) = answer.into_parts();
    remove_hop_by_hop(&mut head.headers);
    head.headers.remove(CONTENT_LENGTH);
    Response::from_parts(head, AnswerBody { ready: VecDeque::from([body]), ..AnswerBody::default() })
}

/// An engine's answer as it comes. `ready` was read of it already; `silence` is the longest pause between two pieces.
pub(super) fn passing(
    answer: Response<Incoming>,
    ready: VecDeque<Bytes>,
    silence: Duration,
    rewriter: Option<CachedTokens>,
    timer: LegTimer,
) -> Answer {
    let (mut head, body) = answer.into_parts();
    remove_hop_by_hop(&mut head.headers);
    if rewriter.is_some() {
        head.headers.remove(CONTENT_LENGTH);
    }
    let engine = Engine { body, silence: Silence::new(silence), rewriter, timer: Some(timer), failed: false };
    Response::from_parts(head, AnswerBody { ready, engine: Some(engine), beside: None })
}

// === impl AnswerBody, Engine ===

impl AnswerBody {
    /// The same body, beside which another leg runs on.
    pub(super) fn beside(self, leg: Beside) -> Self {
        Self { beside: Some(leg), ..self }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.beside.as_mut().is_some_and(|leg| leg.as_mut().poll(cx).is_ready()) {
            self.beside = None;
        }
        if let Some(piece) = self.ready.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match &mut self.engine {
            Some(engine) => engine.poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && self.engine.as_ref().is_none_or(Engine::has_ended)
    }

    fn size_hint(&self) -> SizeHint {
        let ready: u64 = self.ready.iter().map(|piece| piece.len() as u64).sum();
        match &self.engine {
            None => SizeHint::with_exact(ready),
            Some(Engine { rewriter: None, body, .. }) => match body.size_hint().exact() {
                Some(rest) => SizeHint::with_exact(ready + rest),
                None => SizeHint::new(),
            },
            Some(_) => SizeHint::new(),
        }
    }
}

impl Engine {
    fn has_ended(&self) -> bool {
        self.rewriter.is_none() && self.body.is_end_stream() || self.failed
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending if self.silence.lasts(cx) => {
                    self.end("timeout");
                    return Poll::Ready(Some(Err("the engine was silent for too long".into())));
                }
                Poll::Pending => return Poll::Pending,
            };
            self.silence.is_broken();
            match frame {
                Some(Ok(frame)) => match (frame.into_data(), &mut self.rewriter) {
                    (Ok(piece), Some(rewriter)) => {
                        let piece = rewriter.push(piece);
                        if !piece.is_empty() {
                            return Poll::Ready(Some(Ok(Frame::data(piece))));
                        }
                    }
                    (Ok(piece), None) => {
                        // A body of a known length is not polled again after its last piece.
                        if self.body.is_end_stream() {
                            self.end("ok");
                        }
                        return Poll::Ready(Some(Ok(Frame::data(piece))));
                    }
                    (Err(trailers), _) => return Poll::Ready(Some(Ok(trailers))),
                },
                Some(Err(error)) => {
                    self.end("broken");
                    self.failed = true;
                    return Poll::Ready(Some(Err(error.into())));
                }
                None => {
                    self.end("ok");
                    let rest = self.rewriter.take().map(|mut rewriter| rewriter.finish()).unwrap_or_default();
                    return Poll::Ready((!rest.is_empty()).then(|| Ok(Frame::data(rest))));
                }
            }
        }
    }

    fn end(&mut self, outcome: &'static str) {
        if let Some(timer) = self.timer.take() {
            timer.end(outcome);
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // An answer without a body is never polled.
        if self.body.is_end_stream() {
            self.end("ok");
        }
    }
}
