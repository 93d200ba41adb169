//! The way of one request through the sidecar: its API, its targets, its body, and the connector that serves it.
//!
//! Must not know connections of clients, or how legs are run.

use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::Either;
use hyper::body::Incoming;
use murmuration::event::SidecarEvent;
use murmuration_proto::names;
use tokio::sync::watch;

use super::answer::{Answer, not_arrived, refusal, text};
use super::api::Api;
use super::arriving::Arriving;
use super::asked::{Asked, Gathered, NotGathered};
use super::connector::encoder::EC_PARAMS;
use super::fields::Fields;
use super::headers::{Routing, of_passed};
use super::legs::{concurrent, decode, encode, sequential};
use super::owned::remove_owned;
use super::settings::KvConnector;
use super::shared::Shared;
use super::target::Target;

/// The connector's label of a request that is not split.
const NOT_SPLIT: &str = "none";

/// Serves the requests to one rank of this pod.
pub(super) struct Proxy {
    shared: Arc<Shared>,
    rank: u16,
    draining: watch::Receiver<bool>,
}

/// The engines that a request may use, beside the decode engine.
struct Engines {
    prefillers: Vec<Target>,
    encoders: Vec<Target>,
    kv_source: Option<Target>,
}

// === impl Proxy ===

impl Proxy {
    pub(super) fn new(shared: Arc<Shared>, rank: u16, draining: watch::Receiver<bool>) -> Self {
        Self { shared, rank, draining }
    }

    /// The answer to a request. Dropping the future cancels all of its legs.
    pub(super) async fn serve(&self, request: Request<Incoming>) -> Answer {
        let (method, path) = (request.method(), request.uri().path());
        if method == Method::GET && path == "/health" {
            let draining = *self.draining.borrow();
            let status = if draining { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
            return text(status, "text/plain; charset=utf-8", "");
        }
        match Api::of(path).filter(|_| method == Method::POST) {
            Some(api) => Box::pin(self.inference(api, request)).await,
            None => self.pass(request).await,
        }
    }

    /// A request that is none for an answer of a model: both bodies pass as they come.
    async fn pass(&self, request: Request<Incoming>) -> Answer {
        let (mut head, body) = request.into_parts();
        if head.method == Method::CONNECT {
            let why = "the sidecar opens no tunnels".to_owned();
            return refusal(&self.shared, StatusCode::METHOD_NOT_ALLOWED, "bad-header", why);
        }
        // Headers that can't be read are removed, too.
        drop(Routing::take(&mut head.headers));
        let body = Arriving::new(body, &self.shared.settings.deadlines);
        let mut passed = Request::new(Either::Right(body));
        *passed.method_mut() = head.method;
        *passed.uri_mut() = head.uri;
        *passed.headers_mut() = of_passed(&head.headers);
        decode::run(&self.shared, &self.decoder(self.rank), NOT_SPLIT, passed).await
    }

    async fn inference(&self, api: Api, request: Request<Incoming>) -> Answer {
        let shared = &self.shared;
        shared.emit(SidecarEvent::Asked { api: api.label() });
        let (head, body) = request.into_parts();
        let mut headers = head.headers;
        let routing = match Routing::take(&mut headers) {
            Ok(routing) => routing,
            Err(why) => return refusal(shared, StatusCode::BAD_REQUEST, "bad-header", why),
        };
        let decoder = match self.ranked(routing.rank.as_ref()) {
            Ok(decoder) => decoder,
            Err(why) => return refusal(shared, StatusCode::BAD_REQUEST, "rank", why),
        };
        // The targets of a request that is never split are not looked at.
        let routing = if api.can_be_split() { routing } else { Routing::default() };
        let engines = match self.engines(routing) {
            Ok(engines) => engines,
            Err((status, why)) => return refusal(shared, status, "target", why),
        };
        let body = Arriving::new(body, &shared.settings.deadlines);
        let gathered = match Gathered::read(shared, body).await {
            Ok(gathered) => gathered,
            Err(why) => return not_gathered(shared, why),
        };
        let mut fields = match Fields::read(&gathered.bytes) {
            Ok(fields) => fields,
            Err(why) => return refusal(shared, StatusCode::BAD_REQUEST, "bad-body", why),
        };
        let removed = match remove_owned(&mut fields) {
            Ok(removed) => removed,
            Err(why) => return refusal(shared, StatusCode::BAD_REQUEST, "bad-body", why),
        };
        for field in &removed {
            shared.emit(SidecarEvent::FieldRemoved { field });
        }
        let id = request_id(shared, &headers);
        let path = head.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        let asked = Asked { api, path, headers, id, decoder };
        if engines.are_none() {
            let body = if removed.is_empty() { gathered.bytes.clone() } else { fields.text().into() };
            return decode::run(shared, &asked.decoder, NOT_SPLIT, asked.passed(body)).await;
        }
        self.split(&asked, fields, engines).await
    }

    /// Runs the legs of a request.
    async fn split(&self, asked: &Asked, mut fields: Fields<'_>, engines: Engines) -> Answer {
        let (shared, Engines { prefillers, encoders, kv_source }) = (&self.shared, engines);
        let mut connector = NOT_SPLIT;
        if let Some(ec) = shared.settings.ec_connector.filter(|_| !encoders.is_empty()) {
            connector = ec.as_str();
            shared.emit(SidecarEvent::Split { connector });
            match Box::pin(encode::encode(shared, asked, &fields, ec, &encoders)).await {
                Ok(Some(params)) => fields.set(EC_PARAMS, params),
                Ok(None) => {}
                Err(answer) => return *answer,
            }
        }
        let source = kv_source.as_ref();
        if prefillers.is_empty() {
            return match source {
                Some(source) => Box::pin(sequential::pulled(shared, asked, &fields, source)).await,
                None => decode::alone(shared, asked, connector, fields.text()).await,
            };
        }
        let kv = shared.settings.kv_connector;
        shared.emit(SidecarEvent::Split { connector: kv.as_str() });
        match kv {
            KvConnector::NixlV2 => Box::pin(sequential::nixl(shared, asked, &fields, &prefillers, source)).await,
            KvConnector::Offloading => {
                Box::pin(sequential::offloading(shared, asked, &fields, &prefillers, source)).await
            }
            KvConnector::SharedStorage => {
                Box::pin(sequential::shared_storage(shared, asked, &fields, &prefillers)).await
            }
            KvConnector::Mooncake if sequential::is_undivided(shared, kv.as_str(), &fields) => {
                decode::alone(shared, asked, kv.as_str(), fields.text()).await
            }
            KvConnector::Mooncake | KvConnector::Sglang => {
                Box::pin(concurrent::run(shared, asked, &fields, kv, &prefillers)).await
            }
        }
    }

    /// The allowed targets of a request.
    fn engines(&self, routing: Routing) -> Result<Engines, (StatusCode, String)> {
        let settings = &self.shared.settings;
        let some = |stage: &'static str, header: &str, targets: Vec<Target>| {
            let named = !targets.is_empty();
            let allowed = self.shared.allowed(stage, targets);
            if !named || !allowed.is_empty() {
                return Ok(allowed);
            }
            if self.shared.allowed.is_incomplete() {
                let why = "the endpoints of --inference-pool are not known yet; try again later";
                return Err((StatusCode::SERVICE_UNAVAILABLE, format!("{header}: {why}")));
            }
            let see = "see --allowed-targets and --inference-pool";
            Err((StatusCode::FORBIDDEN, format!("{header} names no target that is allowed here; {see}")))
        };
        let prefillers = some("prefill", names::PREFILLER[0], routing.prefillers)?;
        let encoders = match settings.ec_connector {
            Some(_) => some("encode", names::ENCODERS, routing.encoders)?,
            None => Vec::new(),
        };
        let pulls = settings.kv_connector == KvConnector::Offloading
            || settings.kv_connector == KvConnector::NixlV2 && settings.p2p_pull;
        // Without a source an engine computes what it lacks: the answer is the same.
        let sources = routing.kv_source.into_iter().filter(|source| pulls && !self.is_here(source)).collect();
        let kv_source = self.shared.allowed("kv-source", sources).pop();
        Ok(Engines { prefillers, encoders, kv_source })
    }

    /// Whether a target is this rank itself.
    fn is_here(&self, target: &Target) -> bool {
        let settings = &self.shared.settings;
        settings.pod_ip.as_ref() == Some(&target.host) && settings.port.checked_add(self.rank) == Some(target.port)
    }

    /// The decode engine of a rank.
    fn decoder(&self, rank: u16) -> Target {
        let Target { host, port } = &self.shared.settings.decoder;
        Target { host: host.clone(), port: port.saturating_add(rank) }
    }

    /// The decode engine that a header names by the address of its rank here. Only rank 0's port reads it.
    fn ranked(&self, named: Option<&Target>) -> Result<Target, String> {
        let settings = &self.shared.settings;
        let Some(named) = named.filter(|_| self.rank == 0) else { return Ok(self.decoder(self.rank)) };
        let is_ours = settings.pod_ip.as_ref().is_none_or(|ours| *ours == named.host);
        let rank = named.port.checked_sub(settings.port).filter(|rank| is_ours && *rank < settings.ranks);
        rank.map(|rank| self.decoder(rank)).ok_or_else(|| {
            format!("{}: {named} is no rank of this pod; see --data-parallel-size and POD_IP", names::DATA_PARALLEL)
        })
    }
}

// === impl Engines ===

impl Engines {
    fn are_none(&self) -> bool {
        self.prefillers.is_empty() && self.encoders.is_empty() && self.kv_source.is_none()
    }
}

/// The id that a request came with, or a new one.
fn request_id(shared: &Shared, headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(names::REQUEST_ID).filter(|id| !id.is_empty()).cloned();
    given.or_else(|| HeaderValue::from_str(&shared.id()).ok()).unwrap_or(HeaderValue::from_static("none"))
}

fn not_gathered(shared: &Shared, why: NotGathered) -> Answer {
    let limit = shared.settings.limits.body_bytes;
    let (status, code, why) = match why {
        NotGathered::TooLarge => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            format!("the body has more than {limit} bytes (--max-body-size)"),
        ),
        NotGathered::NoMemory => {
            let why = "the bodies of other requests take all memory (--max-body-memory); try again later";
            (StatusCode::SERVICE_UNAVAILABLE, "no-memory", why.to_owned())
        }
        NotGathered::NotArrived(why) => return not_arrived(shared, why),
    };
    refusal(shared, status, code, why)
}
