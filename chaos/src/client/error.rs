//! Why there is no whole answer, told with what was asked of whom.
//!
//! Must not know statuses: an answer of 500 is an answer.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use http::Method;

/// What was asked of whom: the beginning of every error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    /// `GET` or `POST`.
    pub method: Method,
    /// The path.
    pub path: String,
    /// Who was asked.
    pub address: SocketAddr,
}

/// Why there is no whole answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens, or the way there is closed.
    #[error("{errand}: could not connect: {source}; is it running there?")]
    Connect {
        /// What was asked.
        errand: Errand,
        /// What the system said.
        source: std::io::Error,
    },
    /// The connection broke before the answer's end.
    #[error(
        "{errand}: the connection broke after {received} bytes of the answer: {source}; \
         did the server or one behind it die?"
    )]
    Reset {
        /// What was asked.
        errand: Errand,
        /// Bytes of the answer's body that had come.
        received: usize,
        /// What was seen of it.
        source: hyper::Error,
    },
    /// The answer did not come in time.
    #[error(
        "{errand}: no whole answer within {after:?} ({received} bytes of it came); \
         is the engine overloaded or paused?"
    )]
    Timeout {
        /// What was asked.
        errand: Errand,
        /// Bytes of the answer's body that had come.
        received: usize,
        /// The deadline that was kept.
        after: Duration,
    },
    /// A stream ended in order, but without `[DONE]`.
    #[error("{errand}: the stream ended after {events} events without [DONE]; was it cut behind the proxy?")]
    Truncated {
        /// What was asked.
        errand: Errand,
        /// Events that had come.
        events: usize,
    },
    /// The answer, or one event of it, is larger than the client takes.
    #[error("{errand}: the answer or one event of it is larger than {most} bytes")]
    TooLarge {
        /// What was asked.
        errand: Errand,
        /// The bound.
        most: usize,
    },
    /// The path or a header can't be sent.
    #[error("{errand}: can't be asked: {source}; is there a space or a control character in the path or a header?")]
    Request {
        /// What was asked.
        errand: Errand,
        /// What is wrong with it.
        source: http::Error,
    },
}

impl fmt::Display for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of {}", self.method, self.path, self.address)
    }
}
