//! A whole replica on loopback for tests, as `murmuration serve` starts it, and its figures.
//!
//! Must not know what is tested.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use murmuration::fleet::Trust;
use murmuration::scheduler::{EndpointSummary, FleetSummary};
use murmuration_actors::environment::Environment;
use murmuration_actors::replica::{self, Listeners};
use murmuration_actors::telemetry::{Telemetry, span::Tracer};
use murmuration_proto::ext_proc::{ExternalProcessorClient, ProcessingRequest, ProcessingResponse};
use serde_json::json;
use tokio::net::TcpListener;
use tonic::transport::{Channel, Endpoint};

use crate::config::{Config, SHEDDABLE};
use crate::engine::Engine;
use crate::ext_proc::expect::{COMPLETION, post, refusal, request_body};
use crate::ext_proc::stream::ExtProcStream;
use crate::pool::{self, EndpointsFile};
use crate::{metrics, settings};

/// What lines of a metric add to its family's name.
const SUFFIXES: [&str; 4] = ["", "_sum", "_count", "_bucket"];

/// Some figures of a replica, from its metrics and its scheduler's summary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Requests in flight at each endpoint that has any.
    pub in_flight: BTreeMap<SocketAddr, usize>,
    /// Prompt tokens that engines reported.
    pub prompt_tokens: u64,
    /// Answer tokens that engines reported.
    pub completion_tokens: u64,
    /// Requests that ended with an engine's error.
    pub engine_errors: u64,
    /// Requests that ended in order.
    pub completed: u64,
    /// Streams that are open.
    pub streams: u64,
}

/// A running replica. It stops when dropped.
pub struct Replica {
    channel: Channel,
    telemetry: Telemetry,
    /// The replica itself, for its parts.
    pub inner: replica::Replica,
    endpoints_file: EndpointsFile,
}

// === impl Replica ===

impl Replica {
    /// Starts a replica whose pool has these endpoints, and waits until it is ready.
    pub async fn start(config: Config, endpoints: &[&str]) -> Self {
        let file = EndpointsFile::choose();
        write(&file, endpoints);
        let mut replica = Self::with_file(config, file).await;
        replica.ready().await;
        replica
    }

    /// Starts a replica that scrapes these engines every 50 ms, the default of `murmuration serve`.
    pub async fn watching(config: Config, engines: impl IntoIterator<Item = &Engine>) -> Self {
        let names: Vec<String> = engines.into_iter().map(Engine::name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Box::pin(Self::start(Config { interval: settings::ROUND, ..config }, &names)).await
    }

    /// Starts a replica that has no endpoints file yet.
    pub async fn start_without_endpoints(config: Config) -> Self {
        Self::with_file(config, EndpointsFile::choose()).await
    }

    async fn with_file(config: Config, endpoints_file: EndpointsFile) -> Self {
        let mut settings = config.settings(&endpoints_file);
        let peers = match settings.replication.as_mut().and_then(|replication| replication.streams.as_mut()) {
            Some((at, _)) => {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                *at = listener.local_addr().unwrap();
                Some(listener.into())
            }
            None => None,
        };
        let telemetry = Telemetry::new("test", Tracer::default()).unwrap();
        let bind = || TcpListener::bind("127.0.0.1:0");
        let listeners = Listeners {
            ext_proc: bind().await.unwrap().into(),
            health: bind().await.unwrap().into(),
            admin: bind().await.unwrap().into(),
            peers,
        };
        let inner =
            replica::Replica::start(Environment::production(), settings, listeners, telemetry.clone()).await.unwrap();
        let channel = channel(inner.addresses().ext_proc).await;
        Self { channel, telemetry, inner, endpoints_file }
    }

    /// Replaces its endpoints file. The replica checks the file once a second.
    pub fn announce(&self, endpoints: &[&str]) {
        write(&self.endpoints_file, endpoints);
    }

    /// Waits until it is ready.
    pub async fn ready(&mut self) {
        self.inner.readiness().wait_for(|readiness| readiness.is_ready()).await.unwrap();
    }

    /// A client of its ext-proc service.
    pub fn client(&self) -> ExternalProcessorClient<Channel> {
        ExternalProcessorClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    /// A new ext-proc stream.
    pub fn open_stream(&self) -> ExtProcStream {
        ExtProcStream::open(self.client())
    }

    /// A new stream on which these messages were sent.
    pub async fn sends(&self, messages: impl IntoIterator<Item = ProcessingRequest>) -> ExtProcStream {
        let stream = self.open_stream();
        for message in messages {
            stream.send(message).await;
        }
        stream
    }

    /// Sends a whole request on a new stream. Returns the reply to its headers, and all pieces of its body.
    pub async fn ask(&self, head: ProcessingRequest, body: &[u8]) -> (ProcessingResponse, Vec<ProcessingResponse>) {
        self.open_stream().ask(head, body).await
    }

    /// Sends a completion on a new stream, and returns the stream once the request has come back.
    pub async fn asked(&self) -> ExtProcStream {
        let mut stream = self.open_stream();
        stream.ask(post(&[]), COMPLETION).await;
        stream
    }

    /// The replica, and a stream as of [`Replica::asked`].
    pub async fn into_asked(self) -> (Self, ExtProcStream) {
        let stream = self.asked().await;
        (self, stream)
    }

    /// The reply to the only message of a new stream.
    pub async fn reply(&self, message: ProcessingRequest) -> ProcessingResponse {
        let mut stream = self.sends([message]).await;
        stream.answer().await
    }

    /// The refusal of a whole request: status, dropped reason and body.
    pub async fn refused(&self, head: ProcessingRequest, body: &[u8]) -> (i32, String, String) {
        let mut stream = self.sends([head, request_body(body, true)]).await;
        refusal(&stream.answer().await)
    }

    /// The addresses that it serves.
    pub fn addresses(&self) -> replica::Addresses {
        self.inner.addresses()
    }

    /// Drains and stops.
    pub async fn drain(self) {
        self.inner.drain().await;
    }

    /// The number of open tickets.
    pub async fn open_tickets(&self) -> usize {
        let summary = self.inner.scheduler().summary().await.unwrap();
        summary.tickets.open as usize
    }

    /// What it believes of its pool.
    pub async fn fleet(&self) -> FleetSummary {
        self.inner.scheduler().summary().await.unwrap()
    }

    /// What it believes of the endpoint at `address`.
    pub async fn endpoint(&self, address: SocketAddr) -> EndpointSummary {
        let endpoints = self.fleet().await.endpoints;
        endpoints.into_iter().find(|one| one.endpoint.address == address).expect("an endpoint of the pool")
    }

    /// The sum of its metrics whose line begins with `wanted`: a name that replicas have, and perhaps labels.
    pub fn metric(&self, wanted: &str) -> u64 {
        let name = wanted.split(['{', ' ']).next().unwrap_or_default();
        let is_of = |family: &str| name.strip_prefix(family).is_some_and(|end| SUFFIXES.contains(&end));
        let known = self.telemetry.listed_families().iter().any(|family| is_of(&family.name));
        assert!(known, "no metric is called {name}: its sum would be 0 whatever happens");
        metrics::sum_of_lines(&self.telemetry.page(), wanted) as u64
    }

    /// Its figures.
    pub async fn figures(&self) -> Figures {
        let summary = self.inner.scheduler().summary().await.unwrap();
        let busy = summary.endpoints.iter().filter(|endpoint| endpoint.in_flight.requests > 0);
        let page = self.telemetry.page();
        let sum = |wanted: &str| metrics::sum_of_lines(&page, wanted) as u64;
        Figures {
            in_flight: busy.map(|e| (e.endpoint.address, e.in_flight.requests as usize)).collect(),
            prompt_tokens: sum("llm_d_epp_request_input_tokens_sum"),
            completion_tokens: sum("llm_d_epp_request_output_tokens_sum"),
            engine_errors: sum("murmuration_tickets_closed_total{outcome=\"EngineError\"}"),
            completed: sum("murmuration_tickets_closed_total{outcome=\"Completed\"}"),
            streams: sum("llm_d_epp_extproc_streams_inflight "),
        }
    }

    /// Waits until `wanted` accepts its figures, which lag a moment behind the end of a stream.
    pub async fn until(&self, wanted: impl Fn(&Figures) -> bool) -> Figures {
        let figures = || self.figures();
        until(figures, wanted).await
    }

    /// Waits until `wanted` accepts what it believes of the endpoint at `address`.
    pub async fn until_endpoint(
        &self,
        address: SocketAddr,
        wanted: impl Fn(&EndpointSummary) -> bool,
    ) -> EndpointSummary {
        until(|| self.endpoint(address), wanted).await
    }

    /// Waits until the endpoint at `address` reported this many requests waiting.
    pub async fn until_waiting(&self, address: SocketAddr, waiting: u32) -> EndpointSummary {
        let reports = |e: &EndpointSummary| e.report.as_ref().is_some_and(|report| report.waiting == waiting);
        self.until_endpoint(address, reports).await
    }

    /// Waits until the load of all these engines is known exactly.
    pub async fn until_exact(&self, engines: impl IntoIterator<Item = &Engine>) {
        for engine in engines {
            self.until_endpoint(engine.address, |e| e.trust == Trust::Exact).await;
        }
    }

    /// Waits until at least this many sessions are bound.
    pub async fn until_sessions(&self, least: usize) {
        until(|| self.fleet(), |fleet| fleet.sessions >= least).await;
    }

    /// Waits until the metrics whose line begins with `metric` sum up to at least `least`.
    pub async fn until_metric(&self, metric: &str, least: u64) -> u64 {
        until(async || self.metric(metric), |sum| *sum >= least).await
    }
}

/// Reads until `wanted` accepts the value. Events beside the test can be observed in no other way.
async fn until<T: std::fmt::Debug>(read: impl AsyncFn() -> T, wanted: impl Fn(&T) -> bool) -> T {
    for _ in 0..3_000 {
        let seen = read().await;
        if wanted(&seen) {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not seen in time: {:?}", read().await);
}

/// A channel to a server on loopback. Its windows are wide, so that a stream that is not read does not block others.
pub async fn channel(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::try_from(format!("http://{address}")).unwrap();
    let endpoint = endpoint.initial_connection_window_size(1 << 30).initial_stream_window_size(16 << 20);
    endpoint.connect().await.unwrap()
}

fn write(file: &EndpointsFile, endpoints: &[&str]) {
    let (addresses, roles): (Vec<&str>, Vec<Option<&str>>) =
        endpoints.iter().map(|at| at.split_once('@').map_or((*at, None), |(at, role)| (at, Some(role)))).unzip();
    let listed = addresses.iter().enumerate().map(|(i, at)| (format!("e{i:03}"), at.parse().unwrap()));
    let mut listed = pool::listed(listed);
    for (entry, role) in listed.iter_mut().zip(roles) {
        if let Some(role) = role {
            entry["labels"] = json!({ "llm-d.ai/role": role });
        }
    }
    let objectives = json!([{ "name": SHEDDABLE, "priority": -1 }]);
    let text = json!({ "objectives": objectives, "endpoints": listed }).to_string();
    pool::replace(file.path(), &text).unwrap();
}
