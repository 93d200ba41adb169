//! The page of a town's engine, over the little HTTP that a scraper needs.
//!
//! Must not know what is wrong with it, beyond being told.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use murmuration_actors::environment::{Connection, Listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_stream::StreamExt;

use super::{BLOCKS, Engine};
use crate::engine::model::Gauges;
use crate::plan::Page;

/// The end of a request's headers.
const HEAD_END: &[u8] = b"\r\n\r\n";
/// Bytes of a request's headers, at most.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// How often an endless page goes on.
const GOES_ON: Duration = Duration::from_millis(20);

/// Serves whoever comes.
pub(super) async fn serve(mut listener: Listener, engine: Engine) {
    let mut visitors = JoinSet::new();
    while let Some(Ok(wire)) = listener.next().await {
        let engine = engine.clone();
        visitors.spawn(async move { drop(visit(wire, engine).await) });
        while visitors.try_join_next().is_some() {}
    }
}

async fn visit(mut wire: Connection, engine: Engine) -> io::Result<()> {
    let mut head = Vec::new();
    loop {
        while !head.ends_with(HEAD_END) {
            if head.len() > HEAD_BYTES_MAX || wire.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        head.clear();
        match engine.answer() {
            Some(answer) => wire.write_all(answer.as_bytes()).await?,
            None => endless(&mut wire).await?,
        }
    }
}

async fn endless(wire: &mut Connection) -> io::Result<()> {
    wire.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
    loop {
        wire.write_all(b"c\r\n# and so on\n\r\n").await?;
        sleep(GOES_ON).await;
    }
}

// === impl Engine ===

impl Engine {
    /// The whole answer; `None` for a page that never ends.
    fn answer(&self) -> Option<String> {
        let inner = self.inner();
        let text = match inner.ground.page {
            None => text(&inner.model.gauges()),
            Some(Page::Stale) => text(&inner.stale),
            Some(Page::Lying) => text(&Gauges::default()),
            Some(Page::Torn) => {
                let whole = text(&inner.model.gauges());
                whole[..whole.len() / 2].to_owned()
            }
            Some(Page::Error) => return Some("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n".into()),
            Some(Page::Endless) => return None,
        };
        Some(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()))
    }
}

/// What replicas read of vLLM's page, and nothing else.
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
