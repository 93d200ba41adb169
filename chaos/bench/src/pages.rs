//! Engines that serve only a metrics page: one listener each on loopback, all in this process.
//!
//! The server is as cheap as possible, because it shares the machine with the measured replica: it reads to the end of
//! a request's head and writes the same bytes each time.
//!
//! Must not know replicas, or what is on the page.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::Failure;

/// The page of a real vLLM 0.25 under load, with LoRA adapters.
pub(super) const CAPTURED: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/vllm/metrics-lora-load-5.txt");

/// Listeners that serve one page; they stop when dropped.
#[derive(Debug)]
pub(super) struct Pages {
    /// Where they listen, one address for each engine.
    pub(super) addresses: Vec<SocketAddr>,
    /// Bytes of the page.
    pub(super) bytes: usize,
    served: Arc<AtomicU64>,
    _listeners: JoinSet<()>,
}

// === impl Pages ===

impl Pages {
    /// Serves the page in `file`, or the captured one, at `engines` addresses.
    pub(super) async fn serve(engines: u16, file: Option<&Path>) -> Result<Self, Failure> {
        let path = file.unwrap_or_else(|| Path::new(CAPTURED));
        let page = std::fs::read(path).map_err(|why| format!("can't read {}: {why}", path.display()))?;
        let bytes = page.len();
        let answer = Arc::new(answer(&page));
        let served = Arc::new(AtomicU64::new(0));
        let mut listeners = JoinSet::new();
        let mut addresses = Vec::new();
        for _ in 0..engines {
            let cant = |why| format!("can't listen on loopback: {why}; are there enough file descriptors?");
            let listener = TcpListener::bind("127.0.0.1:0").await.map_err(cant)?;
            addresses.push(listener.local_addr().map_err(cant)?);
            listeners.spawn(accept(listener, answer.clone(), served.clone()));
        }
        Ok(Self { addresses, bytes, served, _listeners: listeners })
    }

    /// Pages that were requested and written so far.
    pub(super) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, answer: Arc<Vec<u8>>, served: Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                let _ = stream.set_nodelay(true);
                connections.spawn(serve_connection(stream, answer.clone(), served.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One keep-alive connection. Its client sends the next request only after the answer, so a read never has two heads.
async fn serve_connection(mut stream: TcpStream, answer: Arc<Vec<u8>>, served: Arc<AtomicU64>) {
    let (mut head, mut length) = ([0; 2048], 0);
    while let Some(free) = head.get_mut(length..).filter(|free| !free.is_empty()) {
        match stream.read(free).await {
            Ok(read) if read > 0 => length += read,
            _ => return,
        }
        if head[..length].ends_with(b"\r\n\r\n") {
            length = 0;
            if stream.write_all(&answer).await.is_err() {
                return;
            }
            served.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The answer as vLLM's server writes it.
fn answer(page: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ndate: Mon, 23 Nov 2026 12:00:00 GMT\r\nserver: uvicorn\r\ncontent-length: {}\r\n\
         content-type: text/plain; version=1.0.0; charset=utf-8\r\n\r\n",
        page.len()
    );
    [head.as_bytes(), page].concat()
}
