//! The routes of an engine.
//!
//! Must not know sockets or the model; it asks the driver.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use murmuration::chance::mix;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use super::answer::{Answer, refused_stream};
use super::ask::{Ask, Route};
use super::body::{AnswerBody, Hold, whole};
use super::connector::{Connector, Ready};
use super::driver::{Message, Submission};
use super::fault::{EngineFault, Spoiled, endless};
use super::meters::Answered;
use super::refusal::Refusal;
use super::served::{Served, ServedList};
use crate::EngineConfig;
use crate::model::Busy;

/// Bytes of a body. A real engine has no bound.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The version that is emulated.
const VERSION: &str = "0.32.0";

/// The header that names the engine that answered.
const POD: &str = "x-inference-pod";

/// What all connections of an engine share.
#[derive(Debug)]
pub(super) struct Shared {
    config: EngineConfig,
    pod: HeaderValue,
    driver: mpsc::UnboundedSender<Message>,
    epoch: Instant,
    /// The engine's start, in seconds since the Unix epoch.
    started: f64,
    fingerprint: String,
    named: AtomicU64,
    /// `None` for an engine without one.
    connector: Option<Connector>,
    served: ServedList,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(
        config: EngineConfig,
        pod: HeaderValue,
        driver: mpsc::UnboundedSender<Message>,
        started: f64,
        connector: Option<Connector>,
    ) -> Self {
        let fingerprint = format!("vllm-{VERSION}-{:08x}", xxh3_64(config.name.as_bytes()) as u32);
        let (epoch, named, served) = (Instant::now(), AtomicU64::new(0), ServedList::default());
        Self { config, pod, driver, epoch, started, fingerprint, named, connector, served }
    }

    /// Answers `request`, and counts the response.
    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<AnswerBody> {
        let began = Instant::now();
        let handler = handler_of(request.uri().path());
        let method = method_of(request.method());
        let request_bytes = length_of(request.headers());
        let mut response = match self.route(request).await {
            Ok(response) => response,
            Err(refusal) => refused(&refusal),
        };
        let headers = response.headers_mut();
        headers.insert(header::SERVER, HeaderValue::from_static("uvicorn"));
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        headers.insert(POD, self.pod.clone());
        // A real engine does not count these pages either.
        if !matches!(handler, "/metrics" | "/health" | "/ping" | "/version") {
            let (status, response_bytes) = (response.status().as_u16(), response.body().size_hint().exact());
            let seconds = began.elapsed().as_secs_f64();
            let response_bytes = response_bytes.unwrap_or(0);
            let answered = Answered { handler, method, status, request_bytes, response_bytes, seconds };
            let _ = self.driver.send(Message::Answered(answered));
        }
        response
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Response<AnswerBody>, Refusal> {
        let path = request.uri().path().to_owned();
        match (path.as_str(), request.method()) {
            ("/v1/completions", &Method::POST) => self.complete(Route::Completions, request).await,
            ("/v1/chat/completions", &Method::POST) => self.complete(Route::Chat, request).await,
            ("/v1/models", &Method::GET) => Ok(json_text(self.models())),
            ("/metrics", &Method::GET) => self.metrics().await,
            ("/chaos", &Method::POST) => self.fault(request).await,
            ("/chaos/requests", &Method::GET) => {
                Ok(json_text(self.served.page(self.connector.as_ref().map(Connector::engine_id))))
            }
            ("/version", &Method::GET) => Ok(json_text(json!({ "version": VERSION }).to_string())),
            ("/health", &Method::GET) | ("/ping", &Method::GET | &Method::POST) => Ok(self.health()),
            (path, _) if handler_of(path) != "none" => Err(Refusal::wrong_method()),
            _ => Err(Refusal::not_found()),
        }
    }

    async fn complete(&self, route: Route, request: Request<Incoming>) -> Result<Response<AnswerBody>, Refusal> {
        if !is_json(request.headers()) {
            return Err(Refusal::not_said_to_be_json());
        }
        let name = request.headers().get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        let bytes = read_body(request).await?;
        let mut ask = Ask::read(route, &bytes, &self.config)?;
        drop(bytes);
        let name = name.unwrap_or_else(|| self.new_name());
        let Ready { part, kept } = match self.prepare(&ask, &name).await {
            Ok(ready) => ready,
            // By then a real engine has begun its stream.
            Err(refusal) if ask.stream && !self.driver.is_closed() => {
                return Ok(event_stream(whole(refused_stream(&refusal))));
            }
            Err(refusal) => return Err(refusal),
        };
        let requests = std::mem::take(&mut ask.requests);
        let (outputs, received) = mpsc::unbounded_channel();
        let (accepted, first_id) = oneshot::channel();
        let submission = Submission { requests, natural: ask.natural, n: ask.n, part, outputs, accepted };
        self.driver.send(Message::Submit(submission)).map_err(|_| Refusal::dead())?;
        let first_id = match first_id.await.map_err(|_| Refusal::dead())? {
            Ok(first_id) => first_id,
            Err(Busy) if ask.stream && self.config.busy_in_stream => {
                return Ok(event_stream(whole(refused_stream(&Refusal::busy()))));
            }
            Err(Busy) => return Err(Refusal::busy()),
        };
        let answer = Answer::begin(&ask, &name, first_id, self.unix_now(), &self.fingerprint);
        let hold = Hold::new(answer, received, kept, self.driver.clone());
        if ask.stream {
            return Ok(event_stream(hold.stream()));
        }
        Ok(json_text(hold.whole().await))
    }

    /// Gets what a request needs of other engines, and lists it.
    async fn prepare(&self, ask: &Ask, name: &str) -> Result<Ready, Refusal> {
        let prompt_tokens = ask.prompt_tokens;
        let mut served = Served { request_id: name.to_owned(), prompt_tokens, ..Served::default() };
        let Some(connector) = &self.connector else {
            self.served.add(served);
            return Ok(Ready::default());
        };
        // As a real engine names it: the answer's id, and a part of its own.
        let request = format!("{}-{name}-{:.8}", ask.route.prefix(), self.new_name());
        let ready = connector.prepare(ask, request, &self.driver, &mut served).await;
        self.served.add(served);
        ready
    }

    async fn metrics(&self) -> Result<Response<AnswerBody>, Refusal> {
        let (reader, page) = oneshot::channel();
        self.driver.send(Message::Page(reader)).map_err(|_| Refusal::dead())?;
        let body = match page.await.map_err(|_| Refusal::dead())? {
            Spoiled::Text(page) => whole(page),
            Spoiled::Endless => whole(endless()),
            Spoiled::Error => return Err(Refusal::dead()),
        };
        Ok(with_type("text/plain; version=0.0.4; charset=utf-8", body))
    }

    /// Sets this engine's fault (`POST /chaos`).
    async fn fault(&self, request: Request<Incoming>) -> Result<Response<AnswerBody>, Refusal> {
        let bytes = read_body(request).await?;
        let fault: EngineFault =
            serde_json::from_slice(&bytes).map_err(|why| Refusal::not_a_request(&why.to_string()))?;
        self.driver.send(Message::Fault(fault)).map_err(|_| Refusal::dead())?;
        Ok(json_text("{}".to_owned()))
    }

    /// Healthy as long as the driver runs, whatever its load.
    fn health(&self) -> Response<AnswerBody> {
        let mut response = Response::new(whole(Bytes::new()));
        if self.driver.is_closed() {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        response
    }

    fn models(&self) -> String {
        let created = self.unix_now();
        let card = |name: &str, parent: Option<&str>, max_model_len: Option<usize>| {
            json!({
                "id": name, "object": "model", "created": created, "owned_by": "vllm", "root": name, "parent": parent,
                "max_model_len": max_model_len,
                "permission": [{
                    "id": format!("modelperm-{:016x}", xxh3_64(name.as_bytes())), "object": "model_permission",
                    "created": created, "allow_create_engine": false, "allow_sampling": true, "allow_logprobs": true,
                    "allow_search_indices": false, "allow_view": true, "allow_fine_tuning": false, "organization": "*",
                    "group": null, "is_blocking": false,
                }],
            })
        };
        let EngineConfig { model, adapters, max_model_len, .. } = &self.config;
        let mut cards = vec![card(model, None, Some(*max_model_len))];
        cards.extend(adapters.iter().map(|adapter| card(adapter, Some(model), None)));
        json!({ "object": "list", "data": cards }).to_string()
    }

    fn unix_now(&self) -> u64 {
        (self.started + self.epoch.elapsed().as_secs_f64()) as u64
    }

    /// Sixteen hexadecimal digits, which a real engine takes from a UUID. Here they follow from the engine's name, its
    /// start and a count: no entropy, and different on each engine.
    fn new_name(&self) -> String {
        let count = self.named.fetch_add(1, Ordering::Relaxed);
        let mut name = String::with_capacity(16);
        let _ = write!(name, "{:016x}", mix(xxh3_64(self.config.name.as_bytes()) ^ self.started.to_bits() ^ count));
        name
    }
}

/// The whole body, within its bound.
async fn read_body(request: Request<Incoming>) -> Result<Bytes, Refusal> {
    if length_of(request.headers()) > BODY_BYTES_MAX as u64 {
        return Err(Refusal::too_large(BODY_BYTES_MAX));
    }
    match Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(why) if why.is::<LengthLimitError>() => Err(Refusal::too_large(BODY_BYTES_MAX)),
        Err(why) => Err(Refusal::not_a_request(&format!("the body broke off: {why}"))),
    }
}

fn is_json(headers: &http::HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

fn length_of(headers: &http::HeaderMap) -> u64 {
    headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or(0)
}

/// The route of `path`. Unknown paths share one label, so that clients cannot add series to the page.
fn handler_of(path: &str) -> &'static str {
    const ROUTES: [&str; 7] =
        ["/v1/completions", "/v1/chat/completions", "/v1/models", "/metrics", "/version", "/health", "/ping"];
    ROUTES.into_iter().find(|route| *route == path).unwrap_or("none")
}

fn method_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        _ => "other",
    }
}

fn refused(refusal: &Refusal) -> Response<AnswerBody> {
    let mut response = json_text(refusal.body().to_string());
    *response.status_mut() = refusal.status;
    response
}

fn json_text(text: String) -> Response<AnswerBody> {
    with_type("application/json", whole(text))
}

fn event_stream(body: AnswerBody) -> Response<AnswerBody> {
    with_type("text/event-stream; charset=utf-8", body)
}

fn with_type(kind: &'static str, body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
