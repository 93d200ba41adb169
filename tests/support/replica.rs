//! A whole replica on loopback, as `murmuration serve` starts it, and its figures.
//!
//! By default nothing listens at its engines' addresses, and they are scraped once an hour, so only the test's input
//! counts. A plugin of this file picks endpoints in the given order; a user adds a plugin the same way.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use murmuration::chance::Chance;
use murmuration::plugin::{Catalog, Picker, Plugin, Roles};
use murmuration::schedule::{Ask, Candidate};
use murmuration::scheduler::{EndpointSummary, FleetSummary};
use murmuration_actors::environment::Environment;
use murmuration_actors::ext_proc::{Limits, ResponsePath, TrustedSpelling};
use murmuration_actors::replica::{self, Listeners, PromptSalt, ReplicaSettings, Tls};
use murmuration_actors::replication::ReplicationSettings;
use murmuration_actors::telemetry::{Telemetry, span::Tracer};
use murmuration_proto::ext_proc::ExternalProcessorClient;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tonic::transport::{Channel, Endpoint};

use super::{ExtProcStream, config_text};

/// The objective whose requests may be shed.
pub const SHEDDABLE: &str = "sheddable";

/// The settings of a test's replica.
#[derive(Clone, Debug)]
pub struct Config {
    /// The largest body, in bytes.
    pub body_bytes: u64,
    /// The most streams that may be open at once.
    pub streams_max: usize,
    /// The other limits of its ext-proc service.
    pub limits: Limits,
    /// Which spelling of the control headers is read.
    pub trusted: TrustedSpelling,
    /// Whether it stays in the path of the answer.
    pub response_path: ResponsePath,
    /// The most endpoints in a destination.
    pub destinations: usize,
    /// The longest drain.
    pub drain_timeout: Duration,
    pub salt: PromptSalt,
    /// The time from one scrape of an engine to the next.
    pub interval: Duration,
    /// Whether it scores with the default configuration. Otherwise it takes endpoints in order.
    pub scores: bool,
    /// Whether a request that names its session in `x-session-id` stays with its endpoint. Needs `scores`.
    pub sessions: bool,
    /// Whether requests with long prompts get a prefill endpoint too. Endpoints are then given with their role, as in
    /// `127.0.0.1:7@prefill`.
    pub pairs: bool,
    /// Its replication settings; without them it has no peers.
    pub replication: Option<ReplicationSettings>,
    /// TLS of the ext-proc service.
    pub tls: Tls,
}

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
    pub(super) inner: replica::Replica,
    endpoints_file: EndpointsFile,
}

/// The endpoints file of one replica. Deleted when dropped.
struct EndpointsFile {
    path: PathBuf,
}

/// Picks candidates in their order.
#[derive(Debug)]
struct InOrder {
    most: usize,
}

/// The parameters of [`InOrder`].
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct InOrderParameters {
    max_num_of_endpoints: usize,
}

impl Picker for InOrder {
    fn pick(&self, _: &Ask<'_>, rows: &[Candidate<'_>], _: &[f64], _: &mut Chance, chosen: &mut Vec<usize>) {
        chosen.extend(0..rows.len().min(self.most));
    }
}

impl Plugin for InOrder {
    const TYPE: &'static str = "in-order-picker";
    type Parameters = InOrderParameters;

    fn build(parameters: InOrderParameters) -> Result<Self, String> {
        Ok(Self { most: parameters.max_num_of_endpoints })
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::picker(self)
    }
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            body_bytes: 64 << 20,
            streams_max: 10_000,
            limits: Limits::default(),
            trusted: TrustedSpelling::default(),
            response_path: ResponsePath::Stay,
            destinations: 1,
            drain_timeout: Duration::from_secs(10),
            salt: PromptSalt::Given(0),
            interval: Duration::from_secs(3600),
            scores: false,
            sessions: false,
            pairs: false,
            replication: None,
            tls: Tls::Plain,
        }
    }
}

impl Config {
    /// A replica that scores with the default configuration.
    pub fn scoring() -> Self {
        Self { scores: true, ..Self::default() }
    }
}

// === impl Replica ===

impl Replica {
    /// Starts a replica whose pool has these endpoints, and waits until it is ready.
    pub async fn start(config: Config, endpoints: &[&str]) -> Self {
        let file = EndpointsFile::new();
        file.write(endpoints);
        let mut replica = Self::with_file(config, file).await;
        replica.ready().await;
        replica
    }

    /// Starts a replica that has no endpoints file yet.
    pub async fn start_without_endpoints(config: Config) -> Self {
        Self::with_file(config, EndpointsFile::new()).await
    }

    async fn with_file(config: Config, endpoints_file: EndpointsFile) -> Self {
        let mut settings = settings(&config, &endpoints_file.path);
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
        self.endpoints_file.write(endpoints);
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

    /// The sum of its metrics whose line begins with `wanted`.
    pub fn metric(&self, wanted: &str) -> u64 {
        sum(&self.telemetry.page(), wanted)
    }

    /// Its figures.
    pub async fn figures(&self) -> Figures {
        let summary = self.inner.scheduler().summary().await.unwrap();
        let busy = summary.endpoints.iter().filter(|endpoint| endpoint.in_flight.requests > 0);
        let page = self.telemetry.page();
        let sum = |wanted: &str| sum(&page, wanted);
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

/// The sum of the series of a metrics page whose line begins with `wanted`.
fn sum(page: &str, wanted: &str) -> u64 {
    let lines = page.lines().filter(|line| line.starts_with(wanted));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum::<f64>() as u64
}

/// A channel to a server on loopback. Its windows are wide, so that a stream that is not read does not block others.
pub async fn channel(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::try_from(format!("http://{address}")).unwrap();
    let endpoint = endpoint.initial_connection_window_size(1 << 30).initial_stream_window_size(16 << 20);
    endpoint.connect().await.unwrap()
}

// === impl EndpointsFile ===

impl EndpointsFile {
    /// Chooses the file's name. The file does not exist yet.
    fn new() -> Self {
        static FILES: AtomicU64 = AtomicU64::new(0);
        let name = format!("murmuration-{}-{}.yaml", std::process::id(), FILES.fetch_add(1, Ordering::Relaxed));
        Self { path: std::env::temp_dir().join(name) }
    }

    /// Replaces the file by renaming, so that half a file is never read.
    fn write(&self, endpoints: &[&str]) {
        let new = self.path.with_extension("new");
        std::fs::write(&new, endpoints_text(endpoints)).unwrap();
        std::fs::rename(&new, &self.path).unwrap();
    }
}

impl Drop for EndpointsFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn endpoints_text(endpoints: &[&str]) -> String {
    let mut text = format!("objectives:\n- {{name: {SHEDDABLE}, priority: -1}}\nendpoints:\n");
    if endpoints.is_empty() {
        text = text.replace("endpoints:", "endpoints: []");
    }
    for (i, endpoint) in endpoints.iter().enumerate() {
        let (address, role) = endpoint.split_once('@').map_or((*endpoint, None), |(at, role)| (at, Some(role)));
        let address: SocketAddr = address.parse().unwrap();
        let labels = role.map_or(String::new(), |role| format!(", labels: {{llm-d.ai/role: {role}}}"));
        writeln!(text, "- {{name: e{i:03}, address: \"{}\", port: {}{labels}}}", address.ip(), address.port()).unwrap();
    }
    text
}

fn settings(config: &Config, endpoints_file: &std::path::Path) -> ReplicaSettings {
    let config_text = match (config.scores, config.pairs) {
        (_, true) => config_text::pairs(endpoints_file),
        (true, false) => config_text::scoring(endpoints_file, config.sessions),
        (false, false) => config_text::in_order(endpoints_file, config.destinations),
    };
    let limits = Limits { body_bytes: config.body_bytes, streams_max: config.streams_max, ..config.limits };
    ReplicaSettings {
        replication: config.replication.clone(),
        config_text,
        config_name: "test".to_owned(),
        catalog: || Catalog::builtin().register::<InOrder>(),
        interval: config.interval,
        gauges_interval: Duration::from_secs(3600),
        limits,
        trusted: config.trusted,
        response_path: config.response_path,
        index_bytes_max: 64 << 20,
        lease: Duration::from_secs(3600),
        tls: config.tls.clone(),
        debug: murmuration_actors::admin::DebugAccess::default(),
        drain_timeout: config.drain_timeout,
        salt: config.salt,
        tenant_header: None,
    }
}
