//! An answer that comes in events.
//!
//! Must not know what events mean, but for `[DONE]`, without which a stream has not come to its end.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::answer::{Streamed, is_event_stream, text};
use super::connection::Connection;
use super::error::{ClientError, Errand};
use super::events::{EVENT_BYTES_MAX, EventReader, EventTooLong};
use super::pool::{Client, Opened};

/// The last event of every stream.
const DONE: &str = "[DONE]";

/// A streamed answer on its way. Dropping it closes its connection, as a client does that goes away.
#[derive(Debug)]
pub struct EventStream<'c> {
    /// The answer's status.
    pub status: StatusCode,
    /// The answer's headers.
    pub headers: HeaderMap,
    client: &'c Client,
    connection: Option<Connection>,
    errand: Errand,
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
        let Opened { errand, connection, response, started, ends } = opened;
        let (head, body) = response.into_parts();
        Self {
            status: head.status,
            headers: head.headers,
            client,
            connection: Some(connection),
            errand,
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

    /// The data of the next event; `None` once the stream came to its end, with `[DONE]`.
    ///
    /// # Errors
    /// See [`ClientError`]; [`ClientError::Truncated`] when the stream ended without `[DONE]`.
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
                    let long =
                        |EventTooLong| ClientError::TooLarge { errand: self.errand.clone(), most: EVENT_BYTES_MAX };
                    self.reader.push(&piece).map_err(long)?;
                }
            }
        }
    }

    /// Reads the answer to its end: the events of a stream, or the body of an answer that is none.
    ///
    /// # Errors
    /// See [`EventStream::next`].
    pub async fn collect(mut self) -> Result<Streamed, ClientError> {
        let (mut events, mut body) = (Vec::new(), BytesMut::new());
        if is_event_stream(&self.headers) {
            while let Some(event) = self.next().await? {
                events.push(event);
            }
        } else {
            while let Some(piece) = self.piece().await? {
                body.extend_from_slice(&piece);
            }
            self.rest();
        }
        let total = self.started.elapsed();
        Ok(Streamed {
            status: self.status,
            headers: self.headers,
            events,
            after_done: self.after_done,
            body: body.freeze(),
            first_byte: self.first_byte.unwrap_or(total),
            total,
        })
    }

    /// The value of a header, when it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        text(&self.headers, name)
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, ClientError> {
        let piece = self.client.piece(&self.errand, &mut self.body, self.ends, self.received).await?;
        if let Some(piece) = &piece {
            self.first_byte.get_or_insert_with(|| self.started.elapsed());
            self.received += piece.len();
        }
        Ok(piece)
    }

    fn end(&mut self) -> Result<Option<String>, ClientError> {
        self.rest();
        if self.done {
            return Ok(None);
        }
        Err(ClientError::Truncated { errand: self.errand.clone(), events: self.events })
    }

    fn rest(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.client.keep(connection);
        }
    }
}
