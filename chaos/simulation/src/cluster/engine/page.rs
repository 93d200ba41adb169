//! The metrics page of a simulated engine, over the subset of HTTP that a scraper needs.
//!
//! Must not know when a page fault begins or ends: it reads the one in force from the engine.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use murmuration_actors::environment::{Connection, Listener};
use murmuration_kit::page_server;
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

use super::{BLOCKS, Engine};
use crate::plan::PageFault;
use murmuration_engine_sim::model::Gauges;

/// The pause between two chunks of an endless page.
const CHUNK_INTERVAL: Duration = Duration::from_millis(20);

/// Serves the page to every connection.
pub(super) async fn serve(listener: Listener, engine: Engine) {
    page_server::serve(listener, |connection| serve_connection(connection, engine.clone())).await;
}

async fn serve_connection(mut connection: Connection, engine: Engine) -> io::Result<()> {
    while page_server::next_head(&mut connection).await?.is_some() {
        match engine.answer() {
            Some(answer) => connection.write_all(answer.as_bytes()).await?,
            None => write_endless(&mut connection).await?,
        }
    }
    Ok(())
}

async fn write_endless(connection: &mut Connection) -> io::Result<()> {
    connection.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
    loop {
        connection.write_all(b"c\r\n# and so on\n\r\n").await?;
        sleep(CHUNK_INTERVAL).await;
    }
}

// === impl Engine ===

impl Engine {
    /// The whole response; `None` for a page that never ends.
    fn answer(&self) -> Option<String> {
        let inner = self.inner();
        let text = match inner.engine_faults.page {
            None => text(&inner.model.gauges()),
            Some(PageFault::Stale) => text(&inner.stale),
            Some(PageFault::Lying) => text(&Gauges::default()),
            Some(PageFault::Torn) => {
                let whole = text(&inner.model.gauges());
                whole[..whole.len() / 2].to_owned()
            }
            Some(PageFault::Error) => {
                return Some("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n".into());
            }
            Some(PageFault::Endless) => return None,
        };
        Some(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()))
    }
}

/// The series of vLLM's page that replicas read, and no others.
fn text(gauges: &Gauges) -> String {
    let mut page = String::with_capacity(256);
    let Gauges { running, waiting, kv_usage, .. } = gauges;
    let _ = write!(
        page,
        "vllm:num_requests_running{{engine=\"0\"}} {running}.0\nvllm:num_requests_waiting{{engine=\"0\"}} {waiting}.0\n\
         vllm:kv_cache_usage_perc{{engine=\"0\"}} {kv_usage}\n\
         vllm:cache_config_info{{block_size=\"16\",num_gpu_blocks=\"{BLOCKS}\"}} 1.0\n"
    );
    page
}
