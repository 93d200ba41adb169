//! The sockets of an engine: connections, their bounds, and the shutdown of all of them.
//!
//! Must not know what routes mean, or the model.

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

use murmuration::chance::mix;
use xxhash_rust::xxh3::xxh3_64;

use super::connector::Connector;
use super::driver::{self, Message};
use super::kv_blocks::KvBlocks;
use super::kv_cache::KvCache;
use super::routes::Shared;
use super::side_channel::{self, Side};
use crate::EngineConfig;
use crate::hand_off::HandOff;

/// Connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 8192;

/// How long an idle connection stays open, as uvicorn's `VLLM_HTTP_TIMEOUT_KEEP_ALIVE`. hyper starts this timer when a
/// connection waits for a request, so it also bounds the time to receive a request's head.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// How long open answers may take to end when the engine stops. They end at once if their clients read them.
const SHUTDOWN_MAX: Duration = Duration::from_secs(1);

/// How long to wait after a failed accept, for example when the machine has no sockets left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why an engine cannot be served.
#[derive(Debug)]
pub enum ServeError {
    /// The name does not fit into a header.
    Name(String),
    /// A bound that must be above zero is not.
    Zero(&'static str),
    /// The listener has no address.
    Listener(io::Error),
}

/// A running engine. A drop stops it without waiting.
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
    serve_with(listener, config, None, KEEP_ALIVE)
}

/// [`serve`] for an engine with a connector: it hands KV over to other engines, which ask for it at `side`, or takes it
/// from them.
///
/// # Errors
/// [`ServeError`], before anything is served.
pub fn serve_in_tier(
    listener: TcpListener,
    config: EngineConfig,
    hand_off: HandOff,
    side: TcpListener,
) -> Result<EngineServer, ServeError> {
    serve_with(listener, config, Some((hand_off, side)), KEEP_ALIVE)
}

/// [`serve`] with a given keep-alive time of idle connections.
pub(super) fn serve_with(
    listener: TcpListener,
    config: EngineConfig,
    hand_off: Option<(HandOff, TcpListener)>,
    keep_alive: Duration,
) -> Result<EngineServer, ServeError> {
    check(&config)?;
    let pod = HeaderValue::from_str(&config.name).map_err(|_| ServeError::Name(config.name.clone()))?;
    let address = listener.local_addr().map_err(ServeError::Listener)?;
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let (mailbox, messages) = mpsc::unbounded_channel();
    let mut beside = JoinSet::new();
    let (mut connector, mut kv) = (None, None);
    if let Some((hand_off, listener)) = hand_off {
        let address = listener.local_addr().map_err(ServeError::Listener)?;
        let side = Side { engine: engine_id(&config.name, started), address };
        let blocks = KvBlocks::new(config.blocks, hand_off.lease);
        connector = Some(Connector::new(hand_off, side.engine.clone()));
        kv = Some(KvCache::new(side, blocks, config.block_tokens));
        beside.spawn(side_channel::serve(listener, mailbox.clone()));
    }
    let shared = Arc::new(Shared::new(config.clone(), pod, mailbox.clone(), started, connector));
    let (stop, stopping) = watch::channel(false);
    let driver = tokio::spawn(driver::run(config, started, kv, messages));
    let task = tokio::spawn(async move {
        accept(listener, shared, mailbox, driver, stopping, keep_alive).await;
        beside.shutdown().await;
    });
    Ok(EngineServer { address, stop, task })
}

/// The id of one start of an engine, in the form of a UUID.
fn engine_id(name: &str, started: f64) -> String {
    let (head, tail) = (mix(xxh3_64(name.as_bytes()) ^ started.to_bits()), mix(started.to_bits()));
    let text = format!("{head:016x}{tail:016x}");
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

/// Checks the bounds that the model needs above zero.
fn check(config: &EngineConfig) -> Result<(), ServeError> {
    let bounds = [
        ("max_num_seqs", config.max_num_seqs as f64),
        ("blocks", config.blocks as f64),
        ("block_tokens", config.block_tokens as f64),
        ("max_num_batched_tokens", config.max_num_batched_tokens as f64),
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
    mut driver: JoinHandle<()>,
    mut stopping: watch::Receiver<bool>,
    keep_alive: Duration,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let (own_end, own_ending) = watch::channel(false);
    let mut died = false;
    loop {
        let next = async {
            let permit = room.clone().acquire_owned().await;
            (listener.accept().await, permit)
        };
        tokio::select! {
            biased;
            // An error means that the server's handle was dropped.
            _ = stopping.changed() => break,
            // The engine ended by itself, as a real one that fails at a request.
            _ = &mut driver => {
                died = true;
                break;
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            (accepted, permit) = next => match (accepted, permit) {
                (Ok((stream, _)), Ok(permit)) => {
                    let (shared, stop_signal) = (shared.clone(), own_ending.clone());
                    connections.spawn(async move {
                        connection(stream, shared, stop_signal, keep_alive).await;
                        drop(permit);
                    });
                }
                _ => sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    let _ = own_end.send(true);
    if !died {
        let _ = mailbox.send(Message::Stop);
        let _ = driver.await;
    }
    let _ = timeout(SHUTDOWN_MAX, async { while connections.join_next().await.is_some() {} }).await;
}

async fn connection(stream: TcpStream, shared: Arc<Shared>, mut stopping: watch::Receiver<bool>, keep_alive: Duration) {
    // Tokens are small; Nagle's algorithm would delay them.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(shared.answer(request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(keep_alive);
    let mut served = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    // Errors of a connection are ignored: the client sees them itself.
    tokio::select! {
        _ = served.as_mut() => return,
        _ = stopping.changed() => served.as_mut().graceful_shutdown(),
    }
    let _ = served.await;
}

// === impl EngineServer ===

impl EngineServer {
    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until it has ended by itself, as a real engine that fails at a request.
    pub async fn ended(&mut self) {
        let _ = (&mut self.task).await;
    }

    /// Stops it as SIGTERM stops a real engine: streams end with `abort`, connections close. Waits for both.
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
