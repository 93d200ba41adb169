//! The side channel between two engines: the one that decodes reads the blocks that the other one keeps.
//!
//! Must not know blocks: it asks the driver. A real engine reads them from the other one's memory; here their contents
//! pass in a line of JSON each way. After the transfer a second line says that the blocks may be freed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::driver::Message;
use super::kv_params::Remote;

/// Bytes of a line: a million blocks and more.
const LINE_BYTES_MAX: u64 = 32 << 20;
/// Readers at once; more wait.
const READERS_MAX: usize = 1_024;
/// How long a reader may be silent: far longer than a transfer takes.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// How long to wait before the next attempt to reach an engine.
const RETRY_EVERY: Duration = Duration::from_millis(50);

/// How others reach an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Side {
    /// The engine's id, another one after each start.
    pub(super) engine: String,
    /// Where it listens.
    pub(super) address: SocketAddr,
}

/// Why KV could not be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoadFailure {
    /// Nothing listens there.
    Unreachable,
    /// Another engine does, or the same one after a restart.
    OtherEngine,
    /// The engine ended during the transfer.
    Lost,
}

/// What is asked of an engine.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Asked {
    Read { engine: String, request: String, blocks: Vec<u32> },
    Taken { request: String },
}

/// What it answers: the contents of the blocks, or nothing where another engine is meant.
type Contents = Option<Vec<u64>>;

/// Answers other engines until it is dropped.
pub(super) async fn serve(listener: TcpListener, driver: mpsc::UnboundedSender<Message>) {
    let room = Arc::new(Semaphore::new(READERS_MAX));
    let mut readers = JoinSet::new();
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        while readers.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let driver = driver.clone();
                readers.spawn(async move {
                    // A reader that breaks off leaves its blocks to their lease.
                    let _ = answer(stream, driver).await;
                    drop(permit);
                });
            }
            Err(_) => sleep(RETRY_EVERY).await,
        }
    }
}

async fn answer(mut stream: TcpStream, driver: mpsc::UnboundedSender<Message>) -> Option<()> {
    let (reading, mut writing) = stream.split();
    let mut lines = BufReader::new(reading);
    loop {
        let line = timeout(SILENCE_MAX, line(&mut lines)).await.ok()??;
        match serde_json::from_str(&line).ok()? {
            Asked::Read { engine, request, blocks } => {
                let remote = Remote { engine, request, blocks: vec![blocks], ..Remote::default() };
                let (reader, contents) = oneshot::channel();
                driver.send(Message::KvRead(remote, reader)).ok()?;
                let contents: Contents = contents.await.ok()?;
                writing.write_all(text_of(&contents).as_bytes()).await.ok()?;
            }
            Asked::Taken { request } => driver.send(Message::KvTaken(request)).ok()?,
        }
    }
}

/// Reads the blocks of `remote`; they arrive after `transfer`.
///
/// # Errors
/// [`LoadFailure`].
pub(super) async fn pull(remote: &Remote, handshake: Duration, transfer: Duration) -> Result<Vec<u64>, LoadFailure> {
    let deadline = Instant::now() + handshake;
    let mut stream = connect(remote, deadline).await.ok_or(LoadFailure::Unreachable)?;
    let (reading, mut writing) = stream.split();
    let mut lines = BufReader::new(reading);
    let (engine, request) = (remote.engine.clone(), remote.request.clone());
    let read = Asked::Read { engine, request: request.clone(), blocks: remote.block_ids().to_vec() };
    writing.write_all(text_of(&read).as_bytes()).await.map_err(|_| LoadFailure::Lost)?;
    let answered = tokio::time::timeout_at(deadline, line(&mut lines)).await.map_err(|_| LoadFailure::Unreachable)?;
    let answered = answered.ok_or(LoadFailure::Lost)?;
    let contents: Contents = serde_json::from_str(&answered).map_err(|_| LoadFailure::OtherEngine)?;
    let contents = contents.ok_or(LoadFailure::OtherEngine)?;
    // The engine says nothing more: whatever ends this read is its end.
    if timeout(transfer, line(&mut lines)).await.is_ok() {
        return Err(LoadFailure::Lost);
    }
    // If this is lost, the lease frees the blocks.
    let _ = writing.write_all(text_of(&Asked::Taken { request }).as_bytes()).await;
    let _ = writing.shutdown().await;
    Ok(contents)
}

/// Connects, as long as there is time: nobody may listen yet.
async fn connect(remote: &Remote, deadline: Instant) -> Option<TcpStream> {
    loop {
        let opening = TcpStream::connect((remote.host.as_str(), remote.port));
        match tokio::time::timeout_at(deadline, opening).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(_)) if Instant::now() + RETRY_EVERY < deadline => sleep(RETRY_EVERY).await,
            _ => return None,
        }
    }
}

/// The next line; `None` at the end, and for one that is too long.
async fn line(lines: &mut BufReader<impl tokio::io::AsyncRead + Unpin>) -> Option<String> {
    let mut line = String::new();
    let read = lines.take(LINE_BYTES_MAX).read_line(&mut line).await;
    (read.is_ok() && line.ends_with('\n')).then_some(line)
}

fn text_of(message: &impl Serialize) -> String {
    // Text and numbers can always be written.
    serde_json::to_string(message).unwrap_or_default() + "\n"
}

// === impl LoadFailure ===

impl LoadFailure {
    /// A few words for the list of requests.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "the other engine can't be reached",
            Self::OtherEngine => "another engine, or the same one after a restart",
            Self::Lost => "the other engine ended during the transfer",
        }
    }
}
