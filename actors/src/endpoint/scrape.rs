//! One keep-alive connection to one engine's metrics page.
//!
//! Must not know what is on the page. Real engines close idle connections after five seconds. A connection that was
//! idle for longer than [`IDLE_MAX`] is not used again. One that breaks under a request is replaced once.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::page_buffers;
use crate::environment::Network;

/// The largest page that is read. A real one has about 55 KB, and 100 adapters do not double it.
pub const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes that a connection reads at a time, at most; each keeps a buffer of about this size.
const READ_BYTES_MAX: usize = 32 * 1024;

/// Idle time after which a connection is dropped: below the five seconds after which vLLM closes it.
const IDLE_MAX: Duration = Duration::from_secs(4);

/// Linux error numbers without a kind in the standard library: no file descriptor left for the process (`EMFILE`) or
/// for the machine (`ENFILE`), and no buffers (`ENOBUFS`).
const LOCAL_EXHAUSTION: [i32; 3] = [24, 23, 105];

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    /// No connection: the port is closed or unreachable.
    #[error("could not connect to {address}: {source}; is the engine running there?")]
    Connect {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// This machine has no resources for a connection. The engine was not contacted.
    #[error("this replica can't open a connection: {source}; are there too few file descriptors or ports? (ulimit -n)")]
    Own {
        /// The system's error.
        source: io::Error,
    },
    /// The page did not come in time.
    #[error("no whole page within {0:?}; the engine may be overloaded, or the page may never end")]
    Timeout(Duration),
    /// The status is not 200.
    #[error("the engine answered {0}; is the path right?")]
    Status(StatusCode),
    /// The page is too large.
    #[error("the page is larger than {PAGE_BYTES_MAX} bytes")]
    TooLarge,
    /// The connection broke before the page's end.
    #[error("the connection broke before the page's end: {0}")]
    Broken(#[from] hyper::Error),
    /// The configured path is no valid request path.
    #[error("can't ask for this path: {0}")]
    Path(#[from] http::Error),
}

/// A page and how long it took.
#[derive(Debug)]
pub struct Page {
    /// The page's bytes.
    pub text: Vec<u8>,
    /// From sending the request to the page's last byte.
    pub took: Duration,
}

/// Fetches one engine's page, over a connection that it keeps.
#[derive(Debug)]
pub struct Scraper {
    network: Arc<dyn Network>,
    address: SocketAddr,
    path: String,
    deadline: Duration,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    driver: AbortHandle,
    last_used: Instant,
}

// === impl Page ===

impl Page {
    /// Gives the page's buffer back, so that another page needs no new one.
    pub fn give_back(self) {
        page_buffers::give_back(self.text);
    }
}

// === impl Scraper ===

impl Scraper {
    /// A scraper of `http://address/path`; each scrape may take `deadline`.
    pub fn new(network: Arc<dyn Network>, address: SocketAddr, path: String, deadline: Duration) -> Self {
        Self { network, address, path, deadline, connection: None }
    }

    /// Fetches the page. Whoever has read it should give it back ([`Page::give_back`]).
    ///
    /// # Errors
    /// See [`ScrapeError`]; after an error the next scrape starts with a new connection.
    pub async fn scrape(&mut self) -> Result<Page, ScrapeError> {
        let started = Instant::now();
        let deadline = self.deadline;
        let outcome = timeout(deadline, self.fetch()).await.unwrap_or(Err(ScrapeError::Timeout(deadline)));
        if outcome.is_err() {
            self.connection = None;
        }
        outcome.map(|text| Page { text, took: started.elapsed() })
    }

    async fn fetch(&mut self) -> Result<Vec<u8>, ScrapeError> {
        if let Some(mut connection) = self.connection.take().filter(Connection::is_fresh) {
            match connection.ask(self.address, &self.path).await {
                Ok(response) => return self.read(connection, response).await,
                // The engine closed it between two scrapes. That is no failure of the engine, so a new connection is
                // opened.
                Err(ScrapeError::Broken(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let mut connection = Connection::open(&*self.network, self.address).await?;
        let response = connection.ask(self.address, &self.path).await?;
        self.read(connection, response).await
    }

    async fn read(
        &mut self,
        mut connection: Connection,
        response: hyper::Response<Incoming>,
    ) -> Result<Vec<u8>, ScrapeError> {
        if response.status() != StatusCode::OK {
            return Err(ScrapeError::Status(response.status()));
        }
        let mut body = response.into_body();
        if body.size_hint().lower() > PAGE_BYTES_MAX as u64 {
            return Err(ScrapeError::TooLarge);
        }
        let mut text = page_buffers::take();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            if text.len() + data.len() > PAGE_BYTES_MAX {
                return Err(ScrapeError::TooLarge);
            }
            text.extend_from_slice(&data);
        }
        connection.last_used = Instant::now();
        self.connection = Some(connection);
        Ok(text)
    }
}

// === impl ScrapeError ===

impl ScrapeError {
    /// The stable label for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::Own { .. } => "own-resources",
            Self::Timeout(_) => "timeout",
            Self::Status(_) => "status",
            Self::TooLarge => "too-large",
            Self::Broken(_) => "broken",
            Self::Path(_) => "path",
        }
    }
}

// === impl Connection ===

impl Connection {
    async fn open(network: &dyn Network, address: SocketAddr) -> Result<Self, ScrapeError> {
        let connect = |source| match is_own(&source) {
            true => ScrapeError::Own { source },
            false => ScrapeError::Connect { address, source },
        };
        let stream = network.connect(address).await.map_err(connect)?;
        let (sender, driver) =
            http1::Builder::new().max_buf_size(READ_BYTES_MAX).handshake(TokioIo::new(stream)).await?;
        // The driver ends with its connection, and is aborted with its scraper.
        #[expect(clippy::disallowed_methods, reason = "lives and dies with this connection")]
        let driver = tokio::spawn(async move { drop(driver.await) }).abort_handle();
        Ok(Self { sender, driver, last_used: Instant::now() })
    }

    fn is_fresh(&self) -> bool {
        !self.sender.is_closed() && self.last_used.elapsed() < IDLE_MAX
    }

    async fn ask(&mut self, address: SocketAddr, path: &str) -> Result<hyper::Response<Incoming>, ScrapeError> {
        let request = Request::get(path).header(header::HOST, address.to_string()).body(Empty::new())?;
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Whether a connection failed for lack of local resources, before it reached the engine.
fn is_own(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrInUse, AddrNotAvailable, OutOfMemory, WouldBlock};
    let kinds = [AddrInUse, AddrNotAvailable, OutOfMemory, WouldBlock];
    kinds.contains(&error.kind()) || error.raw_os_error().is_some_and(|number| LOCAL_EXHAUSTION.contains(&number))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::environment::{self, Datagrams};

    /// Fails to connect with this error.
    #[derive(Debug)]
    struct Failing(fn() -> io::Error);

    #[async_trait]
    impl Network for Failing {
        async fn connect(&self, _: SocketAddr) -> io::Result<environment::Connection> {
            Err(self.0())
        }

        async fn bind(&self, _: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
            Err(self.0())
        }
    }

    #[tokio::test]
    async fn exhausted_local_resources_differ_from_an_unreachable_engine() {
        let kind = |why| async move {
            let address = SocketAddr::from(([127, 0, 0, 1], 1));
            let network = Arc::new(Failing(why));
            let mut scraper = Scraper::new(network, address, "/metrics".into(), Duration::from_secs(1));
            scraper.scrape().await.unwrap_err().kind()
        };
        for why in [
            || io::Error::from_raw_os_error(24),
            || io::Error::from_raw_os_error(23),
            || io::Error::from_raw_os_error(105),
            || io::Error::from(io::ErrorKind::AddrNotAvailable),
            || io::Error::from(io::ErrorKind::OutOfMemory),
        ] {
            assert_eq!(kind(why).await, "own-resources", "{}", why());
        }
        for why in [
            || io::Error::from(io::ErrorKind::ConnectionRefused),
            || io::Error::from(io::ErrorKind::HostUnreachable),
            || io::Error::from(io::ErrorKind::ConnectionReset),
        ] {
            assert_eq!(kind(why).await, "connect", "{}", why());
        }
    }
}
