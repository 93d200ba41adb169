//! Requests to engines, over connections that are kept for the next one.
//!
//! Dropping a future of this file, or an answer's body before its end, closes the connection: the engine then aborts the
//! request. Must not know legs.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::time::timeout;

use super::arriving::{Arriving, NotArrived};
use super::connect::Connector;
use super::target::Target;
use crate::environment::Network;

/// How long an idle connection is kept: less than the five seconds after which vLLM closes it.
const IDLE: Duration = Duration::from_secs(4);
/// Bytes that are read of an answer before they are passed on; also of its head.
const BUFFER_MAX: usize = 128 << 10;

/// The body of a request: written here, or passed on as it arrives.
pub(super) type RequestBody = Either<Full<Bytes>, Arriving>;

/// A client of the engines of one stage.
#[derive(Clone)]
pub(super) struct EngineClient {
    client: Client<Connector, RequestBody>,
    scheme: Scheme,
}

/// Why an engine did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LegError {
    /// No connection.
    Connect(String),
    /// The connection broke, or what came is no HTTP.
    Broken(String),
    /// It took too long.
    Timeout,
    /// Its answer is larger than allowed.
    TooLarge,
    /// Not the engine's fault: the request that was passed on did not arrive in full.
    NotArrived(NotArrived),
}

// === impl EngineClient ===

impl EngineClient {
    /// A client that keeps up to `idle` connections to each engine.
    pub(super) fn new(
        network: Arc<dyn Network>,
        connect: Duration,
        idle: usize,
        tls: Option<Arc<ClientConfig>>,
    ) -> Self {
        let scheme = if tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(idle)
            .http1_max_buf_size(BUFFER_MAX)
            .retry_canceled_requests(true)
            .build(Connector::new(network, connect, tls));
        Self { client, scheme }
    }

    /// The head of the answer to `request`, whose URI is a path, of the engine at `target`.
    pub(super) async fn send(
        &self,
        target: &Target,
        mut request: Request<RequestBody>,
        deadline: Duration,
    ) -> Result<Response<Incoming>, LegError> {
        *request.uri_mut() = self.uri(target, request.uri()).map_err(LegError::Broken)?;
        let answer = timeout(deadline, self.client.request(request)).await.map_err(|_| LegError::Timeout)?;
        answer.map_err(|error| match NotArrived::within(&error) {
            Some(why) => LegError::NotArrived(why),
            None if error.is_connect() => LegError::Connect(root_cause(&error)),
            None => LegError::Broken(root_cause(&error)),
        })
    }

    /// The whole answer, of `limit` bytes at most.
    pub(super) async fn whole(
        &self,
        target: &Target,
        request: Request<RequestBody>,
        deadline: Duration,
        limit: usize,
    ) -> Result<Response<Bytes>, LegError> {
        let asked = async {
            let (head, body) = self.send(target, request, deadline).await?.into_parts();
            let body = Limited::new(body, limit).collect().await.map_err(|error| {
                let too_large = error.is::<http_body_util::LengthLimitError>();
                if too_large { LegError::TooLarge } else { LegError::Broken(error.to_string()) }
            })?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        timeout(deadline, asked).await.unwrap_or(Err(LegError::Timeout))
    }

    fn uri(&self, target: &Target, path: &Uri) -> Result<Uri, String> {
        let mut parts = http::uri::Parts::default();
        let authority: Result<Authority, _> = target.to_string().parse();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(authority.map_err(|error| error.to_string())?);
        parts.path_and_query = Some(path.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")));
        Uri::from_parts(parts).map_err(|error| error.to_string())
    }
}

/// The innermost reason, which names what happened to the socket.
fn root_cause(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

// === impl LegError ===

impl LegError {
    /// A stable word for metrics.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Broken(_) => "broken",
            Self::Timeout => "timeout",
            Self::TooLarge => "too-large",
            Self::NotArrived(_) => "cancelled",
        }
    }
}

impl std::fmt::Display for LegError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect(why) => write!(f, "it can't be reached: {why}"),
            Self::Broken(why) => write!(f, "the connection broke: {why}"),
            Self::Timeout => f.write_str("it did not answer in time"),
            Self::TooLarge => f.write_str("its answer is too large"),
            Self::NotArrived(why) => why.fmt(f),
        }
    }
}
