//! An answer: in one piece, or in events.
//!
//! Must not know the content of a body.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its whole body. Empty when the answer was read as events.
    pub body: Bytes,
    /// The data of its events, in order, `[DONE]` excluded. Empty when the answer was read as a body.
    pub events: Vec<String>,
    /// Events that came after `[DONE]`, where nothing should.
    pub after_done: usize,
    /// From the request's start to the body's first byte, or to the headers where there is no body.
    pub first_byte: Duration,
    /// From the request's start to the end.
    pub total: Duration,
}

// === impl Answer ===

impl Answer {
    /// The value of a header, when it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        text(&self.headers, name)
    }
}

pub(super) fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// Whether these are the headers of a stream of events.
pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    text(headers, CONTENT_TYPE.as_str()).is_some_and(|kind| kind.starts_with("text/event-stream"))
}
