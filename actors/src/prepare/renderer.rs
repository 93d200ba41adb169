//! `token-producer` with `vllm`: counts tokens by a vLLM that renders prompts (`--enable-scale-out`).
//!
//! Must not know what the count is used for. A connection is kept for the next request; the renderer is a sidecar, or a
//! service that many replicas share.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use murmuration::config::blueprint::RendererSettings;
use murmuration::plugin::{Learned, Learning, Producer, Unprepared};
use murmuration::request::InferenceRequest;
use murmuration::schedule::named::Named;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::net::TcpStream;
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::discovery::resolve::resolve;

/// The plugin type that counts by a renderer.
const TOKEN_PRODUCER: &str = "token-producer";
/// The largest answer that is read: a million tokens.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// How long the renderer's address is used before its name is resolved again.
const ADDRESS_KEPT: Duration = Duration::from_secs(10);
/// Idle connections that are kept.
const IDLE_MAX: usize = 16;
/// Paths that can be rendered; llm-d's.
const PATHS: [&str; 2] = ["/chat/completions", "/completions"];

/// The renderer.
#[derive(Debug)]
pub struct Renderer {
    settings: RendererSettings,
    idle: Mutex<Vec<Connection>>,
    /// Where it is, and since when that is known. Locked while its name is resolved: one lookup at a time.
    address: AsyncMutex<Option<(Instant, SocketAddr)>>,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: AbortHandle,
}

/// A rendered prompt. Completions have one for each of several prompts.
#[derive(Deserialize)]
#[serde(untagged)]
enum Rendered {
    One { token_ids: Vec<IgnoredAny> },
    Several(Vec<One>),
}

#[derive(Deserialize)]
struct One {
    token_ids: Vec<IgnoredAny>,
}

// === impl Renderer ===

impl Renderer {
    /// A renderer with these settings, as the producer of the type `token-producer`.
    pub fn producer(settings: RendererSettings) -> Named<dyn Producer> {
        Named::new(TOKEN_PRODUCER, TOKEN_PRODUCER, Arc::new(Self::new(settings)))
    }

    /// It is contacted with the first request.
    fn new(settings: RendererSettings) -> Self {
        Self { settings, idle: Mutex::default(), address: AsyncMutex::new(None) }
    }

    fn pop(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if !connection.sender.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
    }

    /// Its address. A request that comes while the name is being resolved does not wait for it.
    async fn address(&self) -> Result<SocketAddr, &'static str> {
        let mut known = self.address.try_lock().map_err(|_| "connect")?;
        if let Some((_, address)) = known.filter(|(since, _)| since.elapsed() < ADDRESS_KEPT) {
            return Ok(address);
        }
        let found = resolve(&self.settings.host, self.settings.port).await.map_err(|_| "connect")?;
        *known = Some((Instant::now(), found));
        Ok(found)
    }

    async fn connect(&self) -> Result<Connection, &'static str> {
        let stream = TcpStream::connect(self.address().await?).await.map_err(|_| "connect")?;
        let _ = stream.set_nodelay(true);
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| "connect")?;
        // The driver ends with its connection, and is aborted with it.
        #[expect(clippy::disallowed_methods, reason = "lives and dies with this connection")]
        let driver = tokio::spawn(async move { drop(driver.await) }).abort_handle();
        Ok(Connection { sender, driver })
    }

    async fn ask(&self, connection: &mut Connection, path: &str, body: Bytes) -> Result<u64, &'static str> {
        let request = Request::post(path)
            .header(header::HOST, format!("{}:{}", self.settings.host, self.settings.port))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|_| "malformed")?;
        connection.sender.ready().await.map_err(|_| "broken")?;
        let answer = connection.sender.send_request(request).await.map_err(|_| "broken")?;
        if answer.status() != StatusCode::OK {
            return Err("status");
        }
        let answer = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let answer = answer.map_err(|why| if why.is::<LengthLimitError>() { "too-large" } else { "broken" })?;
        let rendered: Rendered = serde_json::from_slice(&answer.to_bytes()).map_err(|_| "malformed")?;
        Ok(match rendered {
            Rendered::One { token_ids } => token_ids.len() as u64,
            Rendered::Several(several) => several.iter().map(|one| one.token_ids.len() as u64).sum(),
        })
    }
}

impl Producer for Renderer {
    fn deadline(&self, path: &str, request: &InferenceRequest) -> Option<Duration> {
        let media = request.prompt.media > 0;
        let deadline = if media { self.settings.media_timeout } else { self.settings.timeout };
        render_path(path).map(|_| deadline)
    }

    fn learn<'a>(&'a self, asked: Unprepared<'a>) -> Learning<'a> {
        Box::pin(async move {
            let prompt_tokens = Some(self.count(asked).await?);
            Ok(Learned { prompt_tokens, ..Learned::default() })
        })
    }
}

impl Renderer {
    async fn count(&self, asked: Unprepared<'_>) -> Result<u64, &'static str> {
        let path = render_path(asked.path).ok_or("malformed")?;
        let body = Bytes::from_owner(asked.body.clone());
        let idle = self.pop();
        let reused = idle.is_some();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let mut counted = self.ask(&mut connection, &path, body.clone()).await;
        // It may have been closed while it was idle.
        if counted == Err("broken") && reused {
            connection = self.connect().await?;
            counted = self.ask(&mut connection, &path, body).await;
        }
        let tokens = counted?;
        self.keep(connection);
        Ok(tokens)
    }
}

/// Where a request to `path` is rendered; `None` if it can't be.
fn render_path(path: &str) -> Option<String> {
    let path = path.split('?').next().unwrap_or_default();
    PATHS.iter().any(|known| path.ends_with(known)).then(|| format!("{path}/render"))
}

// === impl Connection ===

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
