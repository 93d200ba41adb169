//! Why there is no whole answer, with the request and its address.
//!
//! Must not know statuses: an answer of 500 is an answer.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use http::Method;

/// The request that failed: the beginning of every error message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRequest {
    /// `GET` or `POST`.
    pub method: Method,
    /// The path.
    pub path: String,
    /// The server's address.
    pub address: SocketAddr,
}

/// Why there is no whole answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No server listens there, or it can't be reached.
    #[error("{client_request}: could not connect: {source}; is it running there?")]
    Connect {
        /// The request.
        client_request: ClientRequest,
        /// The system's error.
        source: std::io::Error,
    },
    /// The connection broke before the answer's end.
    #[error(
        "{client_request}: the connection broke after {received} bytes of the answer: {source}; \
         did the server or one behind it die?"
    )]
    Reset {
        /// The request.
        client_request: ClientRequest,
        /// Bytes of the answer's body that had arrived.
        received: usize,
        /// The connection's error.
        source: hyper::Error,
    },
    /// The answer did not come in time.
    #[error(
        "{client_request}: no whole answer within {after:?} ({received} bytes of it came); \
         is the engine overloaded or paused?"
    )]
    Timeout {
        /// The request.
        client_request: ClientRequest,
        /// Bytes of the answer's body that had arrived.
        received: usize,
        /// The deadline.
        after: Duration,
    },
    /// A stream ended without an error, but also without `[DONE]`.
    #[error("{client_request}: the stream ended after {events} events without [DONE]; was it cut behind the proxy?")]
    Truncated {
        /// The request.
        client_request: ClientRequest,
        /// Events that had arrived.
        events: usize,
    },
    /// The answer, or one event of it, is larger than the client accepts.
    #[error("{client_request}: the answer or one event of it is larger than {most} bytes")]
    TooLarge {
        /// The request.
        client_request: ClientRequest,
        /// The bound.
        most: usize,
    },
    /// The path or a header can't be sent.
    #[error(
        "{client_request}: can't be asked: {source}; is there a space or a control character in the path or a header?"
    )]
    Request {
        /// The request.
        client_request: ClientRequest,
        /// What is wrong with it.
        source: http::Error,
    },
}

impl fmt::Display for ClientRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of {}", self.method, self.path, self.address)
    }
}
