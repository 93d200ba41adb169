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

use murmuration_kit::page_server::{PageEngine, response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Failure;

/// The part of a path that sets the queue; its number follows.
const SET: &str = "POST /waiting/";

/// Running engines; they stop when dropped.
#[derive(Debug)]
pub(super) struct Engines {
    /// Where they listen.
    pub(super) addresses: Vec<SocketAddr>,
    engines: Vec<PageEngine>,
}

#[derive(Debug, Default)]
struct Engine {
    waiting: AtomicU32,
    shown: AtomicU64,
}

// === impl Engines ===

impl Engines {
    /// Starts `count` engines on loopback.
    pub(super) async fn serve(count: u16) -> Result<Self, Failure> {
        let mut engines = Vec::new();
        for _ in 0..count {
            let engine = Engine::default();
            engines.push(PageEngine::start(Arc::new(move |head: &str| engine.answer(head))).await?);
        }
        Ok(Self { addresses: engines.iter().map(|engine| engine.address).collect(), engines })
    }

    /// Pages that each engine has served so far.
    pub(super) fn served(&self) -> Vec<u64> {
        self.engines.iter().map(PageEngine::served).collect()
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

/// The queue that a request sets, if it sets one.
fn queue_to_set(head: &str) -> Option<u32> {
    let (number, _) = head.strip_prefix(SET)?.split_once(' ')?;
    number.parse().ok()
}

// === impl Engine ===

impl Engine {
    /// The next page; none for a request that sets the queue.
    fn answer(&self, head: &str) -> Option<String> {
        match queue_to_set(head) {
            Some(waiting) => {
                self.waiting.store(waiting, Ordering::Relaxed);
                None
            }
            None => {
                let shown = self.shown.fetch_add(1, Ordering::Relaxed);
                Some(response(200, &page(self.waiting.load(Ordering::Relaxed), shown)))
            }
        }
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

    use murmuration_actors::admin::client;

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
        for (address, waiting) in engines.addresses.iter().zip([0, 1234]) {
            let page = client::fetch(*address, "/metrics").await.unwrap().1;
            let line = format!("waiting{{engine=\"0\",model_name=\"base\"}} {waiting}.0");
            assert!(page.contains(&line), "{page}");
        }
        assert_eq!(engines.served(), [1, 1]);
    }
}
