//! The client: requests to one address over kept-alive connections.
//!
//! Must not know bodies. A request that may have reached the server is never repeated, so that failures in a storm stay
//! visible. Only a request that found a kept connection closed is sent over another one.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::answer::Answer;
use super::connection::{Connection, Sent};
use super::error::{ClientError, ClientRequest, Lost};
use super::stream::EventStream;

/// The largest answer that is read.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Most idle connections that are kept.
const IDLE_CONNECTIONS_MAX: usize = 256;

/// A request's deadline where none is set.
const DEADLINE: Duration = Duration::from_secs(60);

/// A client of one address. It keeps at most as many connections as requests were open at once.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    deadline: Duration,
    idle: Mutex<Vec<Connection>>,
}

/// A request whose response headers have arrived.
pub(super) struct Opened {
    pub(super) request: ClientRequest,
    pub(super) connection: Connection,
    pub(super) response: Response<Incoming>,
    pub(super) started: Instant,
    pub(super) ends: Instant,
}

// === impl Client ===

impl Client {
    /// A client of `address`; each exchange may take a minute.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, deadline: DEADLINE, idle: Mutex::new(Vec::new()) }
    }

    /// The same client with another deadline for each exchange, from the request's start to the answer's end.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// The server's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a GET request and reads the whole answer.
    ///
    /// # Errors
    /// See [`ClientError`]; any status is an answer.
    pub async fn get(&self, path: &str) -> Result<Answer, ClientError> {
        self.get_with(path, &[]).await
    }

    /// The same with these headers.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer, ClientError> {
        EventStream::new(self, self.open(Method::GET, path, Bytes::new(), headers).await?).whole().await
    }

    /// Sends a body of JSON and reads the whole answer.
    ///
    /// # Errors
    /// See [`ClientError`]; any status is an answer.
    pub async fn post(
        &self,
        path: &str,
        body: impl Into<Bytes>,
        headers: &[(&str, &str)],
    ) -> Result<Answer, ClientError> {
        EventStream::new(self, self.open(Method::POST, path, body.into(), headers).await?).whole().await
    }

    /// Sends a body of JSON and returns the answer's events as they arrive.
    ///
    /// # Errors
    /// See [`ClientError`]; any status is an answer.
    pub async fn stream(
        &self,
        path: &str,
        body: impl Into<Bytes>,
        headers: &[(&str, &str)],
    ) -> Result<EventStream<'_>, ClientError> {
        Ok(EventStream::new(self, self.open(Method::POST, path, body.into(), headers).await?))
    }

    async fn open(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        headers: &[(&str, &str)],
    ) -> Result<Opened, ClientError> {
        let started = Instant::now();
        let ends = started + self.deadline;
        let request = ClientRequest { method, path: path.to_owned(), address: self.address };
        let message = request.message(body, headers).map_err(|source| request.lost(Lost::Request(source)))?;
        let sent = timeout_at(ends, self.send(message)).await;
        let sent = sent.unwrap_or(Err(Lost::Timeout { received: 0, after: self.deadline }));
        let (connection, response) = sent.map_err(|lost| request.lost(lost))?;
        Ok(Opened { request, connection, response, started, ends })
    }

    async fn send(&self, mut message: Request<Full<Bytes>>) -> Result<(Connection, Response<Incoming>), Lost> {
        loop {
            let kept = self.kept();
            let fresh = kept.is_none();
            let mut connection = match kept {
                Some(connection) => connection,
                None => Connection::open(self.address).await.map_err(Lost::Connect)?,
            };
            match connection.send(message).await {
                Sent::Answered(response) => return Ok((connection, response)),
                Sent::Broken(source) => return Err(Lost::Reset { received: 0, source }),
                Sent::Unsent(_) if fresh => {
                    return Err(Lost::Connect(std::io::ErrorKind::ConnectionReset.into()));
                }
                Sent::Unsent(unsent) => message = unsent,
            }
        }
    }

    /// The next piece of a body of which `received` bytes have arrived; `None` at its end.
    pub(super) async fn piece(
        &self,
        body: &mut Incoming,
        ends: Instant,
        received: usize,
    ) -> Result<Option<Bytes>, Lost> {
        loop {
            let frame = timeout_at(ends, body.frame()).await;
            let Some(frame) = frame.map_err(|_| Lost::Timeout { received, after: self.deadline })? else {
                return Ok(None);
            };
            // Trailers are no part of the body.
            let Ok(data) = frame.map_err(|source| Lost::Reset { received, source })?.into_data() else { continue };
            if received + data.len() > ANSWER_BYTES_MAX {
                return Err(Lost::TooLarge { most: ANSWER_BYTES_MAX });
            }
            return Ok(Some(data));
        }
    }

    /// Takes back a connection whose answer was read to its end.
    pub(super) fn keep(&self, mut connection: Connection) {
        connection.used();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push(connection);
        }
    }

    /// The connection that was used last, if it is still fresh. Expired ones are dropped.
    fn kept(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(Connection::is_fresh);
        idle.pop()
    }
}

// === impl ClientRequest ===

impl ClientRequest {
    fn message(&self, body: Bytes, headers: &[(&str, &str)]) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut builder = Request::builder()
            .method(self.method.clone())
            .uri(&self.path)
            .header(header::HOST, self.address.to_string());
        if self.method == Method::POST {
            builder = builder.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(Full::new(body))
    }
}
