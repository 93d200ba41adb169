//! One keep-alive connection.
//!
//! Must not know the pool that keeps it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Idle time after which a connection is dropped: below the five seconds after which vLLM closes it.
const IDLE_MAX: Duration = Duration::from_secs(4);

/// A connection and the task that moves its bytes.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: AbortHandle,
    last_used: Instant,
}

/// What became of a request that was handed to a connection.
pub(super) enum Sent {
    /// The head of an answer.
    Answered(Response<Incoming>),
    /// The connection was closed before anything was sent: the request is whole and may go elsewhere.
    Unsent(Request<Full<Bytes>>),
    /// The connection broke while the request was in progress; whether it was served is unknown.
    Broken(hyper::Error),
}

// === impl Connection ===

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
        // The driver ends with its connection, and is aborted with it.
        let driver = tokio::spawn(async move { drop(driver.await) }).abort_handle();
        Ok(Self { sender, driver, last_used: Instant::now() })
    }

    pub(super) fn is_fresh(&self) -> bool {
        !self.sender.is_closed() && self.last_used.elapsed() < IDLE_MAX
    }

    pub(super) fn used(&mut self) {
        self.last_used = Instant::now();
    }

    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> Sent {
        if self.sender.ready().await.is_err() {
            return Sent::Unsent(request);
        }
        match self.sender.try_send_request(request).await {
            Ok(response) => Sent::Answered(response),
            Err(mut error) => match error.take_message() {
                Some(request) => Sent::Unsent(request),
                None => Sent::Broken(error.into_error()),
            },
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
