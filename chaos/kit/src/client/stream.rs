//! A streamed answer.
//!
//! Must not know what events mean, except `[DONE]`, without which a stream is incomplete.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::answer::{Answer, is_event_stream, text};
use super::connection::Connection;
use super::error::{ClientError, ClientRequest, Lost};
use super::events::{EVENT_BYTES_MAX, EventReader, EventTooLong};
use super::pool::{Client, Opened};

/// The last event of every stream.
const DONE: &str = "[DONE]";

/// A streamed answer in progress. Dropping it closes its connection, as a client that disconnects does.
#[derive(Debug)]
pub struct EventStream<'c> {
    /// The answer's status.
    pub status: StatusCode,
    /// The answer's headers.
    pub headers: HeaderMap,
    client: &'c Client,
    connection: Option<Connection>,
    request: ClientRequest,
    body: Incoming,
    reader: EventReader,
    started: Instant,
    ends: Instant,
    first_byte: Option<Duration>,
    received: usize,
    events: usize,
    done: bool,
    after_done: usize,
}

// === impl EventStream ===

impl<'c> EventStream<'c> {
    pub(super) fn new(client: &'c Client, opened: Opened) -> Self {
        let Opened { request, connection, response, started, ends } = opened;
        let (head, body) = response.into_parts();
        Self {
            status: head.status,
            headers: head.headers,
            client,
            connection: Some(connection),
            request,
            body,
            reader: EventReader::new(),
            started,
            ends,
            first_byte: None,
            received: 0,
            events: 0,
            done: false,
            after_done: 0,
        }
    }

    /// The data of the next event; `None` once the stream ended with `[DONE]`.
    ///
    /// # Errors
    /// See [`ClientError`]; [`Lost::Truncated`] when the stream ended without `[DONE]`.
    pub async fn next(&mut self) -> Result<Option<String>, ClientError> {
        loop {
            match self.reader.next_event() {
                Some(_) if self.done => self.after_done += 1,
                Some(event) if event == DONE => self.done = true,
                Some(event) => {
                    self.events += 1;
                    return Ok(Some(event));
                }
                None => {
                    let Some(piece) = self.piece().await? else { return self.end() };
                    let long = |EventTooLong| self.request.lost(Lost::TooLarge { most: EVENT_BYTES_MAX });
                    self.reader.push(&piece).map_err(long)?;
                }
            }
        }
    }

    /// Reads the answer to its end: the events of a stream, or the body of any other answer.
    ///
    /// # Errors
    /// See [`EventStream::next`].
    pub async fn collect(mut self) -> Result<Answer, ClientError> {
        if !is_event_stream(&self.headers) {
            return self.whole().await;
        }
        let mut events = Vec::new();
        while let Some(event) = self.next().await? {
            events.push(event);
        }
        Ok(self.answer(events, Bytes::new()))
    }

    /// Reads the answer to its end as one body.
    pub(super) async fn whole(mut self) -> Result<Answer, ClientError> {
        let mut body = BytesMut::new();
        while let Some(piece) = self.piece().await? {
            body.extend_from_slice(&piece);
        }
        self.release();
        Ok(self.answer(Vec::new(), body.freeze()))
    }

    fn answer(self, events: Vec<String>, body: Bytes) -> Answer {
        let total = self.started.elapsed();
        let (after_done, first_byte) = (self.after_done, self.first_byte.unwrap_or(total));
        Answer { status: self.status, headers: self.headers, body, events, after_done, first_byte, total }
    }

    /// The value of a header, when it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        text(&self.headers, name)
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, ClientError> {
        let piece = self.client.piece(&mut self.body, self.ends, self.received).await;
        let piece = piece.map_err(|lost| self.request.lost(lost))?;
        if let Some(piece) = &piece {
            self.first_byte.get_or_insert_with(|| self.started.elapsed());
            self.received += piece.len();
        }
        Ok(piece)
    }

    fn end(&mut self) -> Result<Option<String>, ClientError> {
        self.release();
        if self.done {
            return Ok(None);
        }
        Err(self.request.lost(Lost::Truncated { events: self.events }))
    }

    fn release(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.client.keep(connection);
        }
    }
}
