//! The answer's half of a stream: each chunk goes on at once, and is looked at in passing.
//!
//! Must not know what usage or an error event look like; the core's dialects read them.

use murmuration::request::Usage;
use murmuration::time::Timestamp;
use murmuration_proto::ext_proc::{HttpBody, HttpHeaders, Metadata};

use super::phase::Phase;
use super::{Exchange, Fault, News, Outbox, Step};
use crate::ext_proc::body::{PIECE_BYTES, cut};
use crate::ext_proc::headers::Head;
use crate::ext_proc::model_echo::{Framing, ModelEcho};
use crate::ext_proc::reading::AnswerReader;
use crate::ext_proc::{metadata as words, reply, session};

/// What an exchange knows of its answer.
#[derive(Debug, Default)]
pub(super) struct Answer {
    reader: AnswerReader,
    echo: Option<ModelEcho>,
    /// The answer came to its end.
    pub(super) ended: bool,
    /// Envoy was configured not to show the answer's body.
    pub(super) bodiless: bool,
}

// === impl Answer ===

impl Answer {
    pub(super) fn usage(&self) -> Option<Usage> {
        self.reader.usage()
    }
}

// === impl Exchange ===

impl Exchange {
    /// A response may come while the request is still held: Envoy itself, or a filter after us, answered the client. It
    /// is let through, and nobody is asked any more.
    pub(super) fn response_headers(
        &mut self,
        headers: HttpHeaders,
        metadata: Option<&Metadata>,
        out: &mut Outbox,
    ) -> Result<Step, Fault> {
        if !matches!(self.phase, Phase::Gathering { .. } | Phase::Deciding { .. } | Phase::Answered) {
            return Err(self.phase.misplaced("response headers"));
        }
        let ended = headers.end_of_stream;
        let head = Head::new(headers);
        let content_type = head.get("content-type").unwrap_or_default();
        let encoded = head.first_of(&["content-encoding"]).is_some_and(|encoding| encoding != "identity");
        let sse = content_type.contains("text/event-stream");
        let status = head.get(":status").and_then(|status| status.parse().ok());
        self.life.answered(status, sse);
        self.answer.reader = AnswerReader::of(content_type, encoded);
        self.answer.echo = self.life.rewritten().filter(|_| !encoded).map(|(model, target)| {
            let framing = if sse { Framing::Sse } else { Framing::Json };
            ModelEcho::new(framing, target, model)
        });
        self.phase = Phase::Responding;
        let token = self.token(metadata);
        out.push_back(reply::response_headers(self.answer.echo.is_some(), token));
        self.served(metadata);
        Ok(self.after(ended))
    }

    pub(super) fn response_body(
        &mut self,
        chunk: HttpBody,
        metadata: Option<&Metadata>,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Result<Step, Fault> {
        match self.phase {
            Phase::Responding => {}
            Phase::Over if self.answer.ended => return Ok(Step::Over),
            _ => return Err(self.phase.misplaced("response body")),
        }
        self.served(metadata);
        self.look(&chunk.body, now);
        let body = match &mut self.answer.echo {
            Some(echo) => {
                let mut body = echo.pass(chunk.body);
                if chunk.end_of_stream {
                    body.append(&mut echo.finish());
                }
                body
            }
            None => chunk.body,
        };
        pass_on(body, chunk.end_of_stream, out);
        Ok(self.after(chunk.end_of_stream))
    }

    pub(super) fn response_trailers(&mut self, metadata: Option<&Metadata>, out: &mut Outbox) -> Result<Step, Fault> {
        if !matches!(self.phase, Phase::Responding) {
            return Err(self.phase.misplaced("response trailers"));
        }
        self.served(metadata);
        if let Some(held) = self.answer.echo.as_mut().map(ModelEcho::finish).filter(|held| !held.is_empty()) {
            out.push_back(reply::response_piece(held, false));
        }
        out.push_back(reply::response_trailers());
        Ok(self.after(true))
    }

    fn look(&mut self, chunk: &[u8], now: Timestamp) {
        self.life.answer_bytes(chunk.len());
        let seen = self.answer.reader.push(chunk);
        if seen.first_token {
            self.life.first_token(now);
            self.news.push_back(News::FirstToken);
        }
        if seen.error {
            self.life.failed();
        }
    }

    fn served(&mut self, metadata: Option<&Metadata>) {
        if let Some(address) = metadata.and_then(words::served) {
            self.news.push_back(News::Served(address));
        }
    }

    /// The header that tells the client which endpoint serves its session: whoever the proxy says, else the first choice.
    fn token(&self, metadata: Option<&Metadata>) -> Option<(&str, String)> {
        let served = metadata.and_then(words::served);
        let named = self.targets.iter().find(|(address, _)| Some(*address) == served);
        let (_, endpoint) = named.or(self.targets.first())?;
        Some((self.settings.sessions.token_header.as_deref()?, session::token(endpoint)))
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

/// One chunk is one message, moved, unless it is too large for Envoy and must be cut.
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
