//! The client: requests to one address over kept-alive connections.
//!
//! Must not know bodies. A request that may have reached the server is never repeated, so that failures in a storm stay
//! visible. Only a request that found a kept connection closed is sent over another one.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::answer::Answer;
use super::connection::{Connection, Sent};
use super::error::{ClientError, ClientRequest};
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
    pub(super) client_request: ClientRequest,
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
        self.whole(Method::GET, path, Bytes::new(), &[]).await
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
        self.whole(Method::POST, path, body.into(), headers).await
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
        let opened = self.open(Method::POST, path, body.into(), headers).await?;
        Ok(EventStream::new(self, opened))
    }

    async fn whole(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        headers: &[(&str, &str)],
    ) -> Result<Answer, ClientError> {
        let opened = self.open(method, path, body, headers).await?;
        let Opened { client_request, connection, response, started, ends } = opened;
        let (head, mut incoming) = response.into_parts();
        let mut body = BytesMut::new();
        let mut first_byte = None;
        while let Some(piece) = self.piece(&client_request, &mut incoming, ends, body.len()).await? {
            first_byte.get_or_insert_with(|| started.elapsed());
            body.extend_from_slice(&piece);
        }
        self.keep(connection);
        let total = started.elapsed();
        let first_byte = first_byte.unwrap_or(total);
        Ok(Answer { status: head.status, headers: head.headers, body: body.freeze(), first_byte, total })
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
        let client_request = ClientRequest { method, path: path.to_owned(), address: self.address };
        let request = match request(&client_request, body, headers) {
            Ok(request) => request,
            Err(source) => return Err(ClientError::Request { client_request, source }),
        };
        let sent = timeout_at(ends, self.send(&client_request, request)).await;
        let late =
            || ClientError::Timeout { client_request: client_request.clone(), received: 0, after: self.deadline };
        let (connection, response) = sent.map_err(|_| late())??;
        Ok(Opened { client_request, connection, response, started, ends })
    }

    async fn send(
        &self,
        client_request: &ClientRequest,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Connection, Response<Incoming>), ClientError> {
        loop {
            let kept = self.kept();
            let fresh = kept.is_none();
            let mut connection = match kept {
                Some(connection) => connection,
                None => Connection::open(self.address)
                    .await
                    .map_err(|source| ClientError::Connect { client_request: client_request.clone(), source })?,
            };
            match connection.send(request).await {
                Sent::Answered(response) => return Ok((connection, response)),
                Sent::Broken(source) => {
                    return Err(ClientError::Reset { client_request: client_request.clone(), received: 0, source });
                }
                Sent::Unsent(_) if fresh => {
                    let source = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
                    return Err(ClientError::Connect { client_request: client_request.clone(), source });
                }
                Sent::Unsent(unsent) => request = unsent,
            }
        }
    }

    /// The next piece of a body of which `received` bytes have arrived; `None` at its end.
    pub(super) async fn piece(
        &self,
        client_request: &ClientRequest,
        body: &mut Incoming,
        ends: Instant,
        received: usize,
    ) -> Result<Option<Bytes>, ClientError> {
        loop {
            let Ok(frame) = timeout_at(ends, body.frame()).await else {
                return Err(ClientError::Timeout {
                    client_request: client_request.clone(),
                    received,
                    after: self.deadline,
                });
            };
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|source| ClientError::Reset {
                client_request: client_request.clone(),
                received,
                source,
            })?;
            // Trailers are no part of the body.
            let Ok(data) = frame.into_data() else { continue };
            if received + data.len() > ANSWER_BYTES_MAX {
                return Err(ClientError::TooLarge { client_request: client_request.clone(), most: ANSWER_BYTES_MAX });
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

fn request(
    client_request: &ClientRequest,
    body: Bytes,
    headers: &[(&str, &str)],
) -> Result<Request<Full<Bytes>>, http::Error> {
    let mut builder = Request::builder()
        .method(client_request.method.clone())
        .uri(&client_request.path)
        .header(header::HOST, client_request.address.to_string());
    if client_request.method == Method::POST {
        builder = builder.header(header::CONTENT_TYPE, "application/json");
    }
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Full::new(body))
}
