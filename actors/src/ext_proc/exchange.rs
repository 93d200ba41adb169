//! The exchange of one stream, as a pure state machine: messages and times in, messages and news out.
//!
//! Must not know tokio, gRPC or what decides. The output keeps the order that Envoy requires (headers, body, trailers,
//! for each direction), whatever comes in. A request in an order that no Envoy sends is a [`Fault`], never a panic; the
//! fault names the message and the state. A response is no fault in any state. Envoy, or a filter around this one, may
//! answer a client by itself at any time, also on a stream that never saw a request.
//!
//! In `FULL_DUPLEX_STREAMED` mode nothing needs an answer until the request is whole. Then the headers, all pieces of
//! the body and the trailers are answered at once. Body chunks that come after the request's end are ignored.

mod fault;
mod phase;
mod record;
mod request;
mod response;
#[cfg(test)]
mod sequences;
#[cfg(test)]
pub(super) mod tests;
mod unread;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use murmuration::id::EndpointId;
use murmuration::request::{InferenceRequest, Refusal};
use murmuration::schedule::Header;
use murmuration::time::Timestamp;
use murmuration_proto::ext_proc::{ProcessingRequest, ProcessingResponse, Request};

pub use fault::Fault;
pub use record::{Closing, RequestEnd};
pub use unread::{Read, Unread};

use self::phase::Phase;
use self::record::RequestRecord;
use self::response::Answer;
use super::body::Gathered;
use super::headers::Head;
use super::reply;
use super::settings::Settings;
use super::telemetry_sink::TraceContext;

/// Messages on their way to Envoy, in order.
pub type Outbox = VecDeque<ProcessingResponse>;

/// What the caller does after a message.
#[derive(Clone, Debug)]
pub enum Step {
    /// Send what is in the outbox, if anything, and pass in the next message.
    More,
    /// The request is whole, and its long body takes time to read. Call [`Unread::read`] where it delays no other
    /// stream, then [`Exchange::read`]. At most once in a stream.
    Read(Box<Unread>),
    /// The request is whole and read: ask for endpoints, then call [`Exchange::decided`] or
    /// [`Exchange::refuse`]. At most once in a stream.
    Ask(Box<InferenceRequest>),
    /// Send what is in the outbox and end the stream normally.
    Over,
}

/// Progress of a request, to be reported to its ticket. Each item is returned once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The proxy reported the endpoint that serves the request.
    Served(SocketAddr),
    /// The answer's first token (streamed) or first byte was seen.
    FirstToken,
}

/// The state of one stream.
#[derive(Debug)]
pub struct Exchange {
    settings: Arc<Settings>,
    phase: Phase,
    head: Head,
    generated_id: bool,
    subset: Option<Vec<SocketAddr>>,
    answer: Answer,
    news: VecDeque<News>,
    record: RequestRecord,
    /// The endpoints that may serve, the first choice first. Kept only where the response tells the client which one
    /// did.
    targets: Vec<(SocketAddr, EndpointId)>,
    /// Where data-parallel ranks are behind one port: each destination, and the address of its rank.
    ranks: Vec<(SocketAddr, SocketAddr)>,
    /// Headers that plugins add to the answer.
    added: Vec<Header>,
}

// === impl Exchange ===

impl Exchange {
    /// A stream that was opened at `now`. `spare_id` becomes the request's id if the client sends none.
    pub fn new(settings: Arc<Settings>, spare_id: u128, now: Timestamp) -> Self {
        Self {
            settings,
            phase: Phase::Opening,
            head: Head::default(),
            generated_id: false,
            subset: None,
            answer: Answer::default(),
            news: VecDeque::new(),
            record: RequestRecord::new(spare_id, now),
            targets: Vec::new(),
            ranks: Vec::new(),
            added: Vec::new(),
        }
    }

    /// Processes the next message and adds the messages for Envoy to `out`.
    pub fn on(&mut self, message: ProcessingRequest, now: Timestamp, out: &mut Outbox) -> Result<Step, Fault> {
        let step = self.dispatch(message, now, out);
        if step.is_err() {
            self.phase = Phase::Over;
            self.record.broken();
        }
        step
    }

    /// The trace context from the request's headers; `None` before they arrive.
    pub fn trace_context(&self) -> Option<TraceContext<'_>> {
        self.record.has_begun().then(|| TraceContext {
            request_id: self.record.request_id(),
            traceparent: self.head.get(murmuration_proto::names::TRACEPARENT),
            tracestate: self.head.get(murmuration_proto::names::TRACESTATE),
        })
    }

    /// Refuses the request: with an immediate response while it is still held, otherwise by ending the stream.
    pub fn refuse(&mut self, refusal: Refusal, out: &mut Outbox) {
        if matches!(self.phase, Phase::Opening | Phase::Gathering { .. } | Phase::Deciding { .. }) {
            out.push_back(reply::immediate(&refusal));
            self.record.refused(refusal);
        }
        self.phase = Phase::Over;
    }

    /// The path and the body of a request that waits for its decision, as they will be sent on.
    pub fn waiting(&self) -> Option<(&str, &Gathered)> {
        let Phase::Deciding { body, .. } = &self.phase else { return None };
        Some((self.head.get(":path")?, body))
    }

    /// The next piece of news.
    pub fn news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// Whether the stream must end once the outbox is empty.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over | Phase::Left)
    }

    /// The end of the stream: the event to record and how its ticket closes. Returned once, and only if a request or a
    /// response began or the replica refused. `delivered` is whether Envoy took everything there was to send.
    pub fn finish(&mut self, delivered: bool, now: Timestamp) -> Option<RequestEnd> {
        let left = matches!(self.phase, Phase::Left) && delivered;
        let whole = self.phase.is_whole(&self.answer);
        self.phase = Phase::Over;
        self.record.finish(left, whole, self.answer.usage(), now)
    }

    fn dispatch(&mut self, message: ProcessingRequest, now: Timestamp, out: &mut Outbox) -> Result<Step, Fault> {
        let metadata = message.metadata_context.as_ref();
        let protocol = message.protocol_config;
        if let Some(protocol) = &protocol {
            self.answer.shown_as(protocol.response_body_mode);
        }
        match message.request.ok_or(Fault::Empty)? {
            Request::RequestHeaders(headers) => self.request_headers(headers, metadata, protocol, now, out),
            Request::RequestBody(body) => self.request_body(body, metadata, out),
            Request::RequestTrailers(_) => self.request_trailers(metadata, out),
            Request::ResponseHeaders(headers) => Ok(self.response_headers(headers, metadata, out)),
            Request::ResponseBody(body) => Ok(self.response_body(body, metadata, now, out)),
            Request::ResponseTrailers(_) => Ok(self.response_trailers(metadata, out)),
        }
    }
}
