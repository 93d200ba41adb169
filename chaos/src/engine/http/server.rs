//! The sockets of an engine: connections, their bounds, and the end of all of them.
//!
//! Must not know routes' meanings or the model.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::driver::{self, Message};
use super::routes::Shared;
use crate::engine::EngineConfig;

/// Connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 8192;

/// How long an idle connection stays, as uvicorn's `VLLM_HTTP_TIMEOUT_KEEP_ALIVE`. hyper's clock for it begins when a
/// connection waits for a request, and also bounds the time that the head of a request may take.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// How long answers under way may take when the engine stops. They end at once, where their clients read them.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long to wait when the machine has no socket left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why an engine cannot be served.
#[derive(Debug)]
pub enum ServeError {
    /// The name does not fit into a header.
    Name(String),
    /// A bound that must not be zero is.
    Zero(&'static str),
    /// The listener has no address.
    Listener(io::Error),
}

/// An engine that serves. Dropped, it stops, without waiting.
#[derive(Debug)]
pub struct EngineServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Serves the engine that `config` describes on `listener`, until it is stopped or dropped. Needs a tokio runtime.
///
/// # Errors
/// [`ServeError`], before anything is served.
pub fn serve(listener: TcpListener, config: EngineConfig) -> Result<EngineServer, ServeError> {
    serve_with(listener, config, KEEP_ALIVE)
}

/// [`serve`] with another time that idle connections stay.
pub(super) fn serve_with(
    listener: TcpListener,
    config: EngineConfig,
    keep_alive: Duration,
) -> Result<EngineServer, ServeError> {
    check(&config)?;
    let pod = HeaderValue::from_str(&config.name).map_err(|_| ServeError::Name(config.name.clone()))?;
    let address = listener.local_addr().map_err(ServeError::Listener)?;
    let born = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let (mailbox, messages) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared::new(config.clone(), pod, mailbox.clone(), born));
    let (stop, stopping) = watch::channel(false);
    let driver = tokio::spawn(driver::run(config, born, messages));
    let task = tokio::spawn(accept(listener, shared, mailbox, driver, stopping, keep_alive));
    Ok(EngineServer { address, stop, task })
}

/// The bounds without which the model cannot live.
fn check(config: &EngineConfig) -> Result<(), ServeError> {
    let bounds = [
        ("max_num_seqs", config.max_num_seqs as f64),
        ("blocks", config.blocks as f64),
        ("block_tokens", config.block_tokens as f64),
        ("max_batched_tokens", config.max_batched_tokens as f64),
        ("max_model_len", config.max_model_len as f64),
        ("max_loras", config.max_loras as f64),
        ("prefill_tokens_per_s", config.prefill_tokens_per_s),
    ];
    match bounds.into_iter().find(|(_, bound)| !bound.is_finite() || *bound <= 0.0) {
        Some((name, _)) => Err(ServeError::Zero(name)),
        None => Ok(()),
    }
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    mailbox: mpsc::UnboundedSender<Message>,
    driver: JoinHandle<()>,
    mut stopping: watch::Receiver<bool>,
    keep_alive: Duration,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let told = stopping.clone();
    loop {
        let next = async {
            let permit = room.clone().acquire_owned().await;
            (listener.accept().await, permit)
        };
        tokio::select! {
            biased;
            // An error is the server's end: its handle was dropped.
            _ = stopping.changed() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            (accepted, permit) = next => match (accepted, permit) {
                (Ok((stream, _)), Ok(permit)) => {
                    let (shared, told) = (shared.clone(), told.clone());
                    connections.spawn(async move {
                        connection(stream, shared, told, keep_alive).await;
                        drop(permit);
                    });
                }
                _ => sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    let _ = mailbox.send(Message::Stop);
    let _ = driver.await;
    let _ = timeout(LAST_WORDS, async { while connections.join_next().await.is_some() {} }).await;
}

async fn connection(stream: TcpStream, shared: Arc<Shared>, mut stopping: watch::Receiver<bool>, keep_alive: Duration) {
    // Tokens are small and must not wait for each other.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(shared.answer(request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(keep_alive);
    let mut served = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    // Whatever ends a connection, the client knows it: there is nobody to tell.
    tokio::select! {
        _ = served.as_mut() => return,
        _ = stopping.changed() => served.as_mut().graceful_shutdown(),
    }
    let _ = served.await;
}

// === impl EngineServer ===

impl EngineServer {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it as SIGTERM stops a real one: streams end with `abort`, connections close. Waits until all is over.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.task.await;
    }
}

// === impl ServeError ===

impl std::fmt::Display for ServeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => write!(f, "the engine's name {name:?} does not fit into a header; use plain letters"),
            Self::Zero(bound) => write!(f, "the engine's {bound} must be a number above zero"),
            Self::Listener(why) => write!(f, "the engine's listener has no address: {why}"),
        }
    }
}

impl std::error::Error for ServeError {}
