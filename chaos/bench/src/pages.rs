//! Engines that serve only a metrics page, the same bytes each time: one listener each, all in this process.
//!
//! Must not know replicas, or what is on the page.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use murmuration_kit::page_server::{PageEngine, response};

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
    engines: Vec<PageEngine>,
}

// === impl Pages ===

impl Pages {
    /// Serves the page in `file`, or the captured one, at `engines` addresses.
    pub(super) async fn serve(engines: u16, file: Option<&Path>) -> Result<Self, Failure> {
        let path = file.unwrap_or_else(|| Path::new(CAPTURED));
        let page = std::fs::read_to_string(path).map_err(|why| format!("can't read {}: {why}", path.display()))?;
        let (bytes, answer) = (page.len(), response(200, &page));
        let answer = Arc::new(move |_: &str| Some(answer.clone()));
        let mut all = Vec::new();
        for _ in 0..engines {
            all.push(PageEngine::start(answer.clone()).await?);
        }
        Ok(Self { addresses: all.iter().map(|engine| engine.address).collect(), bytes, engines: all })
    }

    /// Pages that were requested and written so far.
    pub(super) fn served(&self) -> u64 {
        self.engines.iter().map(PageEngine::served).sum()
    }
}
