//! The answer's half of a stream: each chunk is sent on at once, and inspected on the way. An answer that no engine
//! gave (a local reply of Envoy or of another filter) is not inspected.
//!
//! Must not know what usage or an error event look like; the core's dialects read them.

use std::net::SocketAddr;

use murmuration::request::Usage;
use murmuration::schedule::Header;
use murmuration::time::Timestamp;
use murmuration_proto::ext_proc::{BodySendMode, HttpBody, HttpHeaders, Metadata};

use super::phase::Phase;
use super::{Exchange, News, Outbox, Step};
use crate::ext_proc::body::{PIECE_BYTES, cut};
use crate::ext_proc::headers::Head;
use crate::ext_proc::model_echo::{Framing, ModelEcho};
use crate::ext_proc::reading::{self, AnswerReader};
use crate::ext_proc::{metadata as envoy_metadata, reply, session};

/// Envoy sets this header on its own answers when it sheds load or a circuit breaker is open.
const ENVOY_OVERLOADED: &str = "x-envoy-overloaded";

/// Instead of the endpoint that served.
const NOT_REPORTED: &str = "fail: the gateway reported no endpoint";

/// What an exchange knows of its answer.
#[derive(Debug, Default)]
pub(super) struct Answer {
    reader: AnswerReader,
    echo: Option<ModelEcho>,
    /// The request was never sent on: Envoy or one of its filters answers by itself.
    local: bool,
    /// The body is shown in a mode in which only the proxy may change it.
    body_is_fixed: bool,
    /// The answer reached its end.
    pub(super) ended: bool,
    /// Envoy was configured not to show the answer's body.
    pub(super) bodiless: bool,
    /// The address that served the request, as the proxy reported it last. It repeats it with each message.
    served: Option<SocketAddr>,
}

// === impl Answer ===

impl Answer {
    pub(super) fn usage(&self) -> Option<Usage> {
        self.reader.usage()
    }

    /// Envoy shows the body of the answer in this mode.
    pub(super) fn shown_as(&mut self, mode: i32) {
        self.bodiless = mode == i32::from(BodySendMode::None);
        self.body_is_fixed = mode != i32::from(BodySendMode::FullDuplexStreamed);
    }
}

// === impl Exchange ===

impl Exchange {
    /// A response may come in any state. One that comes before the request is sent on is a local reply: Envoy itself or
    /// another filter answered the client. It passes unchanged, and the scheduler is not asked any more.
    pub(super) fn response_headers(
        &mut self,
        headers: HttpHeaders,
        metadata: Option<&Metadata>,
        out: &mut Outbox,
    ) -> Step {
        if self.is_over() {
            return Step::Over;
        }
        self.begin_response();
        let ended = headers.end_of_stream;
        let head = Head::new(headers);
        let content_type = head.get("content-type").unwrap_or_default();
        let encoded =
            head.first_of(&["content-encoding"]).is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity"));
        let sse = reading::is_event_stream(content_type);
        let status = head.get(":status").and_then(|status| status.parse().ok());
        self.record.answered(status, sse);
        if self.answer.local {
            out.push_back(reply::response_headers_as_they_are());
            return self.after(ended);
        }
        if head.get(ENVOY_OVERLOADED).is_some() {
            self.record.held_back();
        }
        self.answer.reader = AnswerReader::of(content_type, encoded);
        self.answer.echo = self.record.rewritten().filter(|_| !encoded).map(|(model, target)| {
            let framing = if sse { Framing::Sse } else { Framing::Json };
            ModelEcho::new(framing, target, model)
        });
        let mut added = std::mem::take(&mut self.added);
        added.extend(self.served_headers(metadata));
        let token = self.token(metadata);
        out.push_back(reply::response_headers(self.answer.echo.is_some(), added, token));
        self.served(metadata);
        self.after(ended)
    }

    pub(super) fn response_body(
        &mut self,
        chunk: HttpBody,
        metadata: Option<&Metadata>,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Step {
        if self.is_over() {
            return Step::Over;
        }
        self.begin_response();
        if !self.answer.local {
            self.served(metadata);
            self.inspect(&chunk.body, now);
        }
        let ended = chunk.end_of_stream;
        if self.answer.body_is_fixed {
            out.push_back(reply::response_body_as_it_is());
            return self.after(ended);
        }
        let body = match &mut self.answer.echo {
            Some(echo) => {
                let mut body = echo.pass(chunk.body);
                if ended {
                    body.append(&mut echo.finish());
                }
                body
            }
            None => chunk.body,
        };
        pass_on(body, ended, out);
        self.after(ended)
    }

    pub(super) fn response_trailers(&mut self, metadata: Option<&Metadata>, out: &mut Outbox) -> Step {
        if self.is_over() {
            return Step::Over;
        }
        self.begin_response();
        if !self.answer.local {
            self.served(metadata);
        }
        if let Some(held) = self.answer.echo.as_mut().map(ModelEcho::finish).filter(|held| !held.is_empty()) {
            out.push_back(reply::response_piece(held, false));
        }
        out.push_back(reply::response_trailers());
        self.after(true)
    }

    /// The first message of a response shows its source: an engine can answer only after the request was sent on.
    fn begin_response(&mut self) {
        if matches!(self.phase, Phase::Opening | Phase::Gathering { .. } | Phase::Deciding { .. }) {
            self.answer.local = true;
        }
        self.record.answer_began();
        self.phase = Phase::Responding;
    }

    fn inspect(&mut self, chunk: &[u8], now: Timestamp) {
        self.record.answer_bytes(chunk.len());
        let seen = self.answer.reader.push(chunk);
        if seen.error {
            self.record.failed();
        }
        // The body of an error is no token: nothing was computed, and no session is served there.
        if seen.first_token && self.record.is_served() {
            self.record.first_token(now);
            self.news.push_back(News::FirstToken);
        }
    }

    fn served(&mut self, metadata: Option<&Metadata>) {
        let served = metadata.and_then(|metadata| self.endpoint_served(metadata));
        if let Some(address) = served.filter(|_| served != self.answer.served) {
            self.answer.served = served;
            self.news.push_back(News::Served(address));
        }
    }

    /// The address of the endpoint that the proxy reports. Behind one port, the rank that was chosen for it.
    fn endpoint_served(&self, metadata: &Metadata) -> Option<SocketAddr> {
        let served = envoy_metadata::served(metadata)?;
        let rank = self.ranks.iter().find(|(destination, _)| *destination == served);
        Some(rank.map_or(served, |(_, own)| *own))
    }

    /// The headers that tell the client which endpoint served, as far as the proxy reports it.
    fn served_headers(&self, metadata: Option<&Metadata>) -> impl Iterator<Item = Header> {
        let value = move || {
            let served = metadata.and_then(envoy_metadata::served);
            served.map_or_else(|| NOT_REPORTED.to_owned(), |address| address.to_string())
        };
        self.settings.served_headers.iter().filter_map(move |name| Header::new(name, value()).ok())
    }

    /// The header that tells the client which endpoint serves its session: the one that the proxy reports, otherwise
    /// the first choice.
    fn token(&self, metadata: Option<&Metadata>) -> Option<(&str, String)> {
        let served = metadata.and_then(|metadata| self.endpoint_served(metadata));
        let named = self.targets.iter().find(|(address, _)| Some(*address) == served);
        let (_, endpoint) = named.or(self.targets.first())?;
        Some((self.settings.sessions.token_header.as_deref()?, session::token(endpoint, self.settings.tier_salt)))
    }

    fn after(&mut self, ended: bool) -> Step {
        if !ended {
            return Step::More;
        }
        self.answer.ended = true;
        self.phase = Phase::Over;
        Step::Over
    }
}

/// Sends one chunk as one message without a copy, unless it is too large for Envoy and must be cut.
fn pass_on(body: Vec<u8>, end_of_stream: bool, out: &mut Outbox) {
    if body.len() <= PIECE_BYTES {
        return out.push_back(reply::response_piece(body, end_of_stream));
    }
    let mut left = body.len();
    for piece in cut(body) {
        left -= piece.len();
        out.push_back(reply::response_piece(piece, end_of_stream && left == 0));
    }
}
