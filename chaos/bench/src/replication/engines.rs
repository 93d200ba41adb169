//! Engines that serve only a metrics page, which differs at each read, and count the reads.
//!
//! Every page is a change, so sharing has its highest cost here: no keeper can leave a report unpublished. The page is
//! short; the bench `scrape` measures the cost of a long one. `POST /waiting/N` sets one engine's queue, for a prober
//! in another process.
//!
//! Must not know replicas.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::Failure;

/// The part of a path that sets the queue; its number follows.
const SET: &str = "POST /waiting/";

/// Running engines; they stop when dropped.
#[derive(Debug)]
pub(super) struct Engines {
    /// Where they listen.
    pub(super) addresses: Vec<SocketAddr>,
    engines: Vec<Arc<Engine>>,
    _listeners: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Engine {
    waiting: AtomicU32,
    served: AtomicU64,
}

// === impl Engines ===

impl Engines {
    /// Starts `count` engines on loopback.
    pub(super) async fn serve(count: u16) -> Result<Self, Failure> {
        let mut all = Self { addresses: Vec::new(), engines: Vec::new(), _listeners: JoinSet::new() };
        for _ in 0..count {
            let cant = |why| format!("can't listen on loopback: {why}; are there enough file descriptors?");
            let listener = TcpListener::bind("127.0.0.1:0").await.map_err(cant)?;
            all.addresses.push(listener.local_addr().map_err(cant)?);
            let engine = Arc::<Engine>::default();
            all.engines.push(engine.clone());
            all._listeners.spawn(accept(listener, engine));
        }
        Ok(all)
    }

    /// Pages that each engine has served so far.
    pub(super) fn served(&self) -> Vec<u64> {
        self.engines.iter().map(|engine| engine.served.load(Ordering::Relaxed)).collect()
    }
}

/// Sets the queue of the engine at `address`.
pub(super) async fn set_waiting(address: SocketAddr, waiting: u32) -> Result<(), Failure> {
    let cant = |why| format!("can't set the queue of the engine at {address}: {why}");
    let mut stream = TcpStream::connect(address).await.map_err(cant)?;
    stream.write_all(format!("{SET}{waiting} HTTP/1.1\r\n\r\n").as_bytes()).await.map_err(cant)?;
    // The engine closes the connection once the queue is set.
    stream.read_to_end(&mut Vec::new()).await.map_err(cant)?;
    Ok(())
}

async fn accept(listener: TcpListener, engine: Arc<Engine>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                let _ = stream.set_nodelay(true);
                connections.spawn(serve_connection(stream, engine.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One keep-alive connection. Its client sends the next request only after the answer, so a read never has two heads.
async fn serve_connection(mut stream: TcpStream, engine: Arc<Engine>) {
    let (mut head, mut length) = ([0; 2048], 0);
    while let Some(free) = head.get_mut(length..).filter(|free| !free.is_empty()) {
        match stream.read(free).await {
            Ok(read) if read > 0 => length += read,
            _ => return,
        }
        if !head[..length].ends_with(b"\r\n\r\n") {
            continue;
        }
        if let Some(waiting) = queue_to_set(&head[..length]) {
            engine.waiting.store(waiting, Ordering::Relaxed);
            return;
        }
        length = 0;
        if stream.write_all(engine.answer().as_bytes()).await.is_err() {
            return;
        }
        engine.served.fetch_add(1, Ordering::Relaxed);
    }
}

/// The queue that a request sets, if it sets one.
fn queue_to_set(head: &[u8]) -> Option<u32> {
    let (number, _) = std::str::from_utf8(head).ok()?.strip_prefix(SET)?.split_once(' ')?;
    number.parse().ok()
}

// === impl Engine ===

impl Engine {
    /// The next page, as vLLM's server writes it.
    fn answer(&self) -> String {
        let page = page(self.waiting.load(Ordering::Relaxed), self.served.load(Ordering::Relaxed));
        format!(
            "HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-length: {}\r\n\
             content-type: text/plain; version=1.0.0; charset=utf-8\r\n\r\n{page}",
            page.len()
        )
    }
}

/// The page after `served` others: each differs from the one before.
fn page(waiting: u32, served: u64) -> String {
    let labels = r#"{engine="0",model_name="base"}"#;
    let (running, kv) = (4 + served * 5 % 9, 0.30 + 0.02 * (served * 7 % 16) as f64);
    format!(
        "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{labels} {running}.0\n\
         # TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{labels} {waiting}.0\n\
         # TYPE vllm:kv_cache_usage_perc gauge\nvllm:kv_cache_usage_perc{labels} {kv:.2}\n\
         # TYPE vllm:cache_config_info gauge\n\
         vllm:cache_config_info{{block_size=\"16\",engine=\"0\",num_gpu_blocks=\"125000\"}} 1.0\n"
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use murmuration::dialect::engine::EngineSpec;
    use murmuration::dialect::metrics_page::read_page;

    use super::*;

    #[test]
    fn every_page_can_be_read_and_differs_from_the_last() {
        let reports: Vec<_> = (0..40).map(|n| read_page(page(7, n).as_bytes(), &EngineSpec::vllm()).unwrap()).collect();
        assert!(reports.iter().all(|report| report.waiting == 7 && report.cache.unwrap().blocks == 125_000));
        assert!(reports.windows(2).all(|pair| pair[0].running != pair[1].running));
    }

    #[tokio::test]
    async fn a_queue_is_set_in_one_engine_and_pages_are_counted() {
        let engines = Engines::serve(2).await.unwrap();
        set_waiting(engines.addresses[1], 1234).await.unwrap();
        assert_eq!(engines.served(), [0, 0]);
        assert!(engines.engines[1].answer().contains("waiting{engine=\"0\",model_name=\"base\"} 1234.0"));
        assert!(engines.engines[0].answer().contains("waiting{engine=\"0\",model_name=\"base\"} 0.0"));
        let mut stream = TcpStream::connect(engines.addresses[0]).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").await.unwrap();
        let mut read = [0; 15];
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"HTTP/1.1 200 OK");
        stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").await.unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(20), async {
            while engines.served() != [2, 0] {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }
}
