//! An engine's HTTP side on loopback that behaves well or badly, as a test says, and counts what it is asked.
//!
//! Must not know replicas. It speaks HTTP by hand, because most of what it is for no server library would do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// A page of a real, idle vLLM.
const IDLE_PAGE: &str = include_str!("../fixtures/vllm/metrics-idle-fresh.txt");

/// How `/metrics` is answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Manner {
    /// The whole page.
    Whole(String),
    /// The whole page, once: a second request on the same connection meets a closed listener, as when an engine gives up an
    /// idle connection in the moment it is used again.
    Once(String),
    /// A promise of the whole page, half of it, and a closed connection.
    Torn(String),
    /// A page without end, as fast as it is read.
    Endless,
    /// A page without end, a line at a time.
    Trickle,
    /// This status.
    Status(u16),
    /// Nothing: the request is read and the connection stays.
    Mute,
}

/// A running engine; it is gone when dropped.
#[derive(Debug)]
pub struct Engine {
    /// Where it listens.
    pub address: SocketAddr,
    manner: watch::Sender<Manner>,
    idle: watch::Sender<Duration>,
    asked: Arc<Asked>,
    server: JoinHandle<()>,
}

/// What an engine was asked.
#[derive(Debug, Default)]
struct Asked {
    connections: AtomicU64,
    pages: AtomicU64,
    health: AtomicU64,
}

/// One connection's side.
struct Host {
    manner: watch::Receiver<Manner>,
    idle: watch::Receiver<Duration>,
    asked: Arc<Asked>,
}

/// The page of an engine with so many requests waiting and running.
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
    assert_ne!(page, IDLE_PAGE, "the page tells when the process started");
    page
}

/// The page of a sleeping engine.
pub fn asleep() -> String {
    let state = |state: &str, on: bool| {
        format!("engine_sleep_state{{engine=\"0\",model_name=\"tiny\",sleep_state=\"{state}\"}} {}.0\n", u8::from(on))
    };
    let page = IDLE_PAGE.replace(&state("awake", true), &state("awake", false));
    let page = page.replace(&state("weights_offloaded", false), &state("weights_offloaded", true));
    assert_ne!(page, IDLE_PAGE, "the page tells sleep");
    page
}

// === impl Engine ===

impl Engine {
    /// Starts an engine at a port of its own.
    pub async fn start(manner: Manner) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), manner).await
    }

    /// Starts an engine at `address`, where one may have died.
    pub async fn start_at(address: SocketAddr, manner: Manner) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (manner, manners) = watch::channel(manner);
        // vLLM's own.
        let (idle, idles) = watch::channel(Duration::from_secs(5));
        let asked = Arc::new(Asked::default());
        let server = tokio::spawn(serve(listener, manners, idles, asked.clone()));
        Self { address, manner, idle, asked, server }
    }

    /// Its name in an endpoints file.
    pub fn name(&self) -> String {
        self.address.to_string()
    }

    /// From now on it behaves like this.
    pub fn behave(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// From now on it closes connections that are idle for so long, without a word.
    pub fn close_idle_after(&self, idle: Duration) {
        self.idle.send_replace(idle);
    }

    /// Connections that were made to it.
    pub fn connections(&self) -> u64 {
        self.asked.connections.load(Ordering::Relaxed)
    }

    /// Times that its page was asked for.
    pub fn pages(&self) -> u64 {
        self.asked.pages.load(Ordering::Relaxed)
    }

    /// Times that its health was asked for.
    pub fn health(&self) -> u64 {
        self.asked.health.load(Ordering::Relaxed)
    }

    /// Dies at once: its connections break, and nobody listens any more when this returns.
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

async fn serve(
    listener: TcpListener,
    manner: watch::Receiver<Manner>,
    idle: watch::Receiver<Duration>,
    asked: Arc<Asked>,
) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        asked.connections.fetch_add(1, Ordering::Relaxed);
        let host = Host { manner: manner.clone(), idle: idle.clone(), asked: asked.clone() };
        connections.spawn(async move {
            // A connection that breaks is the replica's to notice.
            let _ = host.attend(stream).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

// === impl Host ===

impl Host {
    async fn attend(self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut heard = Vec::new();
        for nth in 0.. {
            let idle = *self.idle.borrow();
            while !heard.windows(4).any(|end| end == b"\r\n\r\n") {
                match timeout(idle, stream.read_buf(&mut heard)).await {
                    Ok(Ok(read)) if read > 0 => {}
                    _ => return Ok(()),
                }
            }
            let request = String::from_utf8_lossy(&std::mem::take(&mut heard)).into_owned();
            match request.split(' ').nth(1) {
                Some("/metrics") => {
                    self.asked.pages.fetch_add(1, Ordering::Relaxed);
                    let manner = self.manner.borrow().clone();
                    if nth > 0 && matches!(manner, Manner::Once(_)) {
                        break;
                    }
                    answer(&mut stream, manner).await?;
                }
                Some("/health") => {
                    self.asked.health.fetch_add(1, Ordering::Relaxed);
                    stream.write_all(whole(200, "").as_bytes()).await?;
                }
                _ => stream.write_all(whole(404, "").as_bytes()).await?,
            }
        }
        Ok(())
    }
}

async fn answer(stream: &mut TcpStream, manner: Manner) -> std::io::Result<()> {
    const ENDLESS: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let cut = || std::io::Error::from(std::io::ErrorKind::ConnectionAborted);
    match manner {
        Manner::Whole(page) | Manner::Once(page) => stream.write_all(whole(200, &page).as_bytes()).await,
        Manner::Status(status) => stream.write_all(whole(status, "something broke\n").as_bytes()).await,
        Manner::Torn(page) => {
            let answer = whole(200, &page);
            stream.write_all(&answer.as_bytes()[..answer.len() / 2]).await?;
            Err(cut())
        }
        Manner::Endless => {
            stream.write_all(ENDLESS).await?;
            let text = "# nothing\n".repeat(6_000);
            let chunk = format!("{:x}\r\n{text}\r\n", text.len());
            loop {
                stream.write_all(chunk.as_bytes()).await?;
            }
        }
        Manner::Trickle => {
            stream.write_all(ENDLESS).await?;
            loop {
                stream.write_all(b"a\r\n# nothing\n\r\n").await?;
                sleep(Duration::from_millis(20)).await;
            }
        }
        Manner::Mute => std::future::pending().await,
    }
}

fn whole(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} -\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
