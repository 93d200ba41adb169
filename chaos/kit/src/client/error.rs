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

/// Why there is no whole answer to a request.
#[derive(Debug, thiserror::Error)]
#[error("{request}: {lost}")]
pub struct ClientError {
    /// The request.
    pub request: ClientRequest,
    /// How its answer was lost.
    pub lost: Lost,
}

/// How an answer was lost.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// No server listens there, or it can't be reached.
    #[error("could not connect: {0}; is it running there?")]
    Connect(std::io::Error),
    /// The connection broke before the answer's end.
    #[error(
        "the connection broke after {received} bytes of the answer: {source}; did the server or one behind it die?"
    )]
    Reset {
        /// Bytes of the answer's body that had arrived.
        received: usize,
        /// The connection's error.
        source: hyper::Error,
    },
    /// The answer did not come in time.
    #[error("no whole answer within {after:?} ({received} bytes of it came); is the engine overloaded or paused?")]
    Timeout {
        /// Bytes of the answer's body that had arrived.
        received: usize,
        /// The deadline.
        after: Duration,
    },
    /// A stream ended without an error, but also without `[DONE]`.
    #[error("the stream ended after {events} events without [DONE]; was it cut behind the proxy?")]
    Truncated {
        /// Events that had arrived.
        events: usize,
    },
    /// The answer, or one event of it, is larger than the client accepts.
    #[error("the answer or one event of it is larger than {most} bytes")]
    TooLarge {
        /// The bound.
        most: usize,
    },
    /// The path or a header can't be sent.
    #[error("can't be asked: {0}; is there a space or a control character in the path or a header?")]
    Request(http::Error),
}

// === impl ClientRequest ===

impl ClientRequest {
    pub(super) fn lost(&self, lost: Lost) -> ClientError {
        ClientError { request: self.clone(), lost }
    }
}

impl fmt::Display for ClientRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of {}", self.method, self.path, self.address)
    }
}
