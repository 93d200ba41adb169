//! The HTTP side of an engine on loopback, for tests: it answers as the test configures it, and counts the requests.
//!
//! Must not know replicas.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::page_server::{connections, next_head, path, response, serve};

/// The metrics page of a real, idle vLLM.
const IDLE_PAGE: &str = include_str!("../../../tests/fixtures/vllm/metrics-idle-fresh.txt");

/// How `/metrics` is answered.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricsBehavior {
    /// The whole page.
    Whole(String),
    /// The whole page once. A second request on the same connection finds it closed. An engine does the same when it
    /// closes an idle connection at the moment of its next use.
    Once(String),
    /// The length of the whole page, half of the page, and a closed connection.
    Torn(String),
    /// An endless page, as fast as it is read.
    Endless,
    /// An endless page, one line every 20 ms.
    Trickle,
    /// An answer with this status.
    Status(u16),
    /// No answer: the request is read and the connection stays open.
    NoResponse,
}

/// A running engine. It stops when dropped.
#[derive(Debug)]
pub struct Engine {
    /// Where it listens.
    pub address: SocketAddr,
    behavior: watch::Sender<MetricsBehavior>,
    idle: watch::Sender<Duration>,
    counts: Arc<RequestCounts>,
    server: JoinHandle<()>,
}

/// The requests that an engine received.
#[derive(Debug, Default)]
struct RequestCounts {
    connections: AtomicU64,
    pages: AtomicU64,
    health: AtomicU64,
}

/// The engine's end of one connection.
#[derive(Clone)]
struct Connection {
    behavior: watch::Receiver<MetricsBehavior>,
    idle: watch::Receiver<Duration>,
    counts: Arc<RequestCounts>,
}

/// The page of an engine with this many requests waiting and running.
pub fn page(waiting: u32, running: u32) -> String {
    let set = |page: String, name: &str, value: u32| {
        let from = format!("{name}{{engine=\"0\",model_name=\"tiny\"}} 0.0\n");
        assert!(page.contains(&from), "{name} is on the page");
        page.replace(&from, &from.replace("0.0\n", &format!("{value}.0\n")))
    };
    let page = set(IDLE_PAGE.to_owned(), "vllm:num_requests_waiting", waiting);
    set(page, "vllm:num_requests_running", running)
}

/// The page of an idle engine whose process started later.
pub fn restarted() -> String {
    let page =
        IDLE_PAGE.replace("process_start_time_seconds 1.7953437789e+09", "process_start_time_seconds 1.7953437999e+09");
    assert_ne!(page, IDLE_PAGE, "the page has the start time of the process");
    page
}

/// The page of a sleeping engine.
pub fn asleep() -> String {
    let state = |state: &str, on: bool| {
        format!("engine_sleep_state{{engine=\"0\",model_name=\"tiny\",sleep_state=\"{state}\"}} {}.0\n", u8::from(on))
    };
    let page = IDLE_PAGE.replace(&state("awake", true), &state("awake", false));
    let page = page.replace(&state("weights_offloaded", false), &state("weights_offloaded", true));
    assert_ne!(page, IDLE_PAGE, "the page has the sleep state");
    page
}

// === impl Engine ===

impl Engine {
    /// Starts an engine at a free port.
    pub async fn start(behavior: MetricsBehavior) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), behavior).await
    }

    /// Starts an engine whose page shows this many requests waiting and running.
    pub async fn showing(waiting: u32, running: u32) -> Self {
        Self::start(MetricsBehavior::Whole(page(waiting, running))).await
    }

    /// Starts several engines as [`Self::showing`] does.
    pub async fn several(count: usize, waiting: u32, running: u32) -> Vec<Self> {
        let mut engines = Vec::with_capacity(count);
        for _ in 0..count {
            engines.push(Self::showing(waiting, running).await);
        }
        engines
    }

    /// Starts an engine at `address`, for example where another one was killed.
    pub async fn start_at(address: SocketAddr, behavior: MetricsBehavior) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (behavior, behaviors) = watch::channel(behavior);
        // The default of vLLM.
        let (idle, idles) = watch::channel(Duration::from_secs(5));
        let counts = Arc::new(RequestCounts::default());
        let connection = Connection { behavior: behaviors, idle: idles, counts: counts.clone() };
        let server = tokio::spawn(serve(connections(listener), move |stream| connection.clone().serve(stream)));
        Self { address, behavior, idle, counts, server }
    }

    /// Its name in an endpoints file.
    pub fn name(&self) -> String {
        self.address.to_string()
    }

    /// Sets how `/metrics` is answered from now on.
    pub fn behave(&self, behavior: MetricsBehavior) {
        self.behavior.send_replace(behavior);
    }

    /// Shows this many requests waiting and running from now on.
    pub fn show(&self, waiting: u32, running: u32) {
        self.behave(MetricsBehavior::Whole(page(waiting, running)));
    }

    /// From now on it closes connections that were idle for this long, without an answer.
    pub fn close_idle_after(&self, idle: Duration) {
        self.idle.send_replace(idle);
    }

    /// Connections that it accepted.
    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::Relaxed)
    }

    /// Requests for its metrics page.
    pub fn pages(&self) -> u64 {
        self.counts.pages.load(Ordering::Relaxed)
    }

    /// Requests for its health.
    pub fn health(&self) -> u64 {
        self.counts.health.load(Ordering::Relaxed)
    }

    /// Stops at once: its connections break, and nothing listens at its address any more when this returns.
    pub async fn kill(mut self) -> SocketAddr {
        self.server.abort();
        let _ = (&mut self.server).await;
        self.address
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.server.abort();
    }
}

// === impl Connection ===

impl Connection {
    async fn serve(self, mut stream: TcpStream) -> std::io::Result<()> {
        self.counts.connections.fetch_add(1, Ordering::Relaxed);
        for nth in 0.. {
            let idle = *self.idle.borrow();
            let Ok(Ok(Some(head))) = timeout(idle, next_head(&mut stream)).await else { return Ok(()) };
            match path(&head) {
                "/metrics" => {
                    self.counts.pages.fetch_add(1, Ordering::Relaxed);
                    let behavior = self.behavior.borrow().clone();
                    if nth > 0 && matches!(behavior, MetricsBehavior::Once(_)) {
                        break;
                    }
                    answer(&mut stream, behavior).await?;
                }
                "/health" => {
                    self.counts.health.fetch_add(1, Ordering::Relaxed);
                    stream.write_all(response(200, "").as_bytes()).await?;
                }
                _ => stream.write_all(response(404, "").as_bytes()).await?,
            }
        }
        Ok(())
    }
}

async fn answer(stream: &mut TcpStream, behavior: MetricsBehavior) -> std::io::Result<()> {
    const ENDLESS: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let aborted = || std::io::Error::from(std::io::ErrorKind::ConnectionAborted);
    match behavior {
        MetricsBehavior::Whole(page) | MetricsBehavior::Once(page) => {
            stream.write_all(response(200, &page).as_bytes()).await
        }
        MetricsBehavior::Status(status) => stream.write_all(response(status, "something broke\n").as_bytes()).await,
        MetricsBehavior::Torn(page) => {
            let answer = response(200, &page);
            stream.write_all(&answer.as_bytes()[..answer.len() / 2]).await?;
            Err(aborted())
        }
        MetricsBehavior::Endless => {
            stream.write_all(ENDLESS).await?;
            let text = "# nothing\n".repeat(6_000);
            let chunk = format!("{:x}\r\n{text}\r\n", text.len());
            loop {
                stream.write_all(chunk.as_bytes()).await?;
            }
        }
        MetricsBehavior::Trickle => {
            stream.write_all(ENDLESS).await?;
            loop {
                stream.write_all(b"a\r\n# nothing\n\r\n").await?;
                sleep(Duration::from_millis(20)).await;
            }
        }
        MetricsBehavior::NoResponse => std::future::pending().await,
    }
}
