//! A fake cluster, and replicas that watch it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use murmuration::config::default_text;
use murmuration::dialect::kubernetes::pool_ref::PoolRef;
use murmuration::event::{Decided, Event};
use murmuration_actors::environment::Environment;
use murmuration_actors::kubernetes::{ApiServer as Address, KubernetesSettings, PeerPods, Source};
use murmuration_actors::replica::{Listeners, Replica, ReplicaSettings};
use murmuration_actors::telemetry::{Telemetry, span::Tracer};
use murmuration_kit::api_server::ApiServer;
use murmuration_kit::client::Client;
use murmuration_kit::ext_proc::expect::{COMPLETION, post};
use murmuration_kit::ext_proc::request_body;
use murmuration_kit::replica::channel;
use murmuration_kit::{ExtProcStream, settings};
use murmuration_proto::ext_proc::ExternalProcessorClient;
use serde_json::{Value, json};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

pub(super) const NAMESPACE: &str = "prod";
pub(super) const POOL: &str = "llama";
pub(super) const PODS: &str = "/api/v1/namespaces/prod/pods";
pub(super) const POOLS: &str = "/apis/inference.networking.k8s.io/v1/namespaces/prod/inferencepools";
pub(super) const CURRENT: &str = "/apis/llm-d.ai/v1alpha2/namespaces/prod/inferenceobjectives";
pub(super) const REWRITES: &str = "/apis/llm-d.ai/v1alpha2/namespaces/prod/inferencemodelrewrites";
pub(super) const LEGACY: &str = "/apis/inference.networking.x-k8s.io/v1alpha2/namespaces/prod/inferenceobjectives";

/// A fake API server.
pub(super) struct Cluster {
    pub(super) api: ApiServer,
}

/// A replica that watches it.
pub(super) struct Watching {
    replica: Replica,
    telemetry: Telemetry,
    events: watch::Receiver<Vec<Event>>,
    /// The port of its gossip, which all replicas of a tier share.
    port: u16,
}

/// Looks whether a pool is empty.
pub(super) struct Look {
    empty: Arc<AtomicBool>,
    _task: JoinSet<()>,
}

/// A pod with this label `app`.
pub(super) fn pod(app: &str, ip: &str, ready: bool) -> Value {
    let condition = json!({ "type": "Ready", "status": if ready { "True" } else { "False" } });
    json!({
        "metadata": { "labels": { "app": app } },
        "spec": { "nodeName": "n", "containers": [] },
        "status": { "phase": "Running", "podIP": ip, "conditions": [condition] },
    })
}

/// A pool of pods with this label `app`.
pub(super) fn pool(app: &str, ports: &[u16]) -> Value {
    let ports: Vec<Value> = ports.iter().map(|port| json!({ "number": port })).collect();
    let selector = json!({ "matchLabels": { "app": app } });
    json!({ "spec": { "selector": selector, "targetPorts": ports, "appProtocol": "http" } })
}

/// Waits until `wanted` is so.
pub(super) async fn eventually<F: Future<Output = bool>>(wanted: impl Fn() -> F) {
    for _ in 0..6_000 {
        if wanted().await {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("not seen in time");
}

impl Look {
    /// Whether endpoints were always left.
    pub(super) fn was_never_empty(&self) -> bool {
        !self.empty.load(Ordering::Relaxed)
    }
}

impl Cluster {
    pub(super) async fn start() -> Self {
        Self { api: ApiServer::start().await.unwrap() }
    }

    /// A cluster with a pool and two pods in it.
    pub(super) async fn with_pool() -> Self {
        let cluster = Self::start().await;
        cluster.api.put(POOLS, POOL, pool("vllm", &[8000]));
        cluster.api.put(PODS, "a", pod("vllm", "127.0.0.1", true));
        cluster.api.put(PODS, "b", pod("vllm", "127.0.0.2", true));
        cluster
    }

    fn settings(&self, source: Source, peers: Option<PeerPods>) -> KubernetesSettings {
        let url = format!("http://{}", self.api.address()).parse().unwrap();
        let api = Address::at(url);
        KubernetesSettings { api, source: Some(source), peers }
    }
}

fn source() -> Source {
    let pool = PoolRef { group: "inference.networking.k8s.io".to_owned(), name: POOL.to_owned() };
    Source::Pool { namespace: NAMESPACE.to_owned(), pool }
}

impl Watching {
    pub(super) async fn start(cluster: &Cluster) -> Self {
        Self::of(cluster, source()).await
    }

    pub(super) async fn of(cluster: &Cluster, source: Source) -> Self {
        let kubernetes = Some(cluster.settings(source, None));
        Self::with(ReplicaSettings { kubernetes, ..settings::replica(default_text()) }, None, 0).await
    }

    /// One whose metrics are for callers that the API server allows to read them.
    pub(super) async fn guarded(cluster: &Cluster) -> Self {
        let kubernetes = Some(cluster.settings(source(), None));
        let settings = ReplicaSettings { kubernetes, metrics_auth: true, ..settings::replica(default_text()) };
        Self::with(settings, None, 0).await
    }

    /// What `/metrics` answers to the bearer of `token`: a status and a body.
    pub(super) async fn metrics_with(&self, token: Option<&str>) -> (u16, String) {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
        let answer = Client::new(self.replica.addresses().admin).get_with("/metrics", &headers).await.unwrap();
        (answer.status.as_u16(), String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// The status of another page.
    pub(super) async fn page_of(&self, path: &str) -> u16 {
        Client::new(self.replica.addresses().admin).get(path).await.unwrap().status.as_u16()
    }

    /// Replicas that find each other by their pods, each at an address of its own and all on one port.
    pub(super) async fn tier(cluster: &Cluster, count: usize) -> Vec<Self> {
        let port = UdpSocket::bind("127.0.1.1:0").await.unwrap().local_addr().unwrap().port();
        for number in 0..count {
            cluster.api.put(PODS, &format!("epp-{number}"), pod("epp", &ip(number), false));
        }
        let mut replicas = Vec::new();
        for number in 0..count {
            replicas.push(Self::member(cluster, port, number).await);
        }
        replicas
    }

    /// One more replica of the tier of `other`.
    pub(super) async fn joins(cluster: &Cluster, other: &Self, number: usize) -> Self {
        cluster.api.put(PODS, &format!("epp-{number}"), pod("epp", &ip(number), false));
        Self::member(cluster, other.port, number).await
    }

    async fn member(cluster: &Cluster, port: u16, number: usize) -> Self {
        let me = format!("epp-{number}");
        let selector = "app=epp".to_owned();
        let peers = PeerPods { namespace: NAMESPACE.to_owned(), selector, port, me: me.clone() };
        let kubernetes = Some(cluster.settings(source(), Some(peers)));
        let gossip: SocketAddr = format!("{}:{port}", ip(number)).parse().unwrap();
        let replication = Some(settings::replication(me, "kubernetes", gossip, &[]));
        let settings = ReplicaSettings { kubernetes, replication, ..settings::replica(default_text()) };
        Self::with(settings, None, port).await
    }

    async fn with(settings: ReplicaSettings, peers: Option<TcpListener>, port: u16) -> Self {
        let (observed, events) = watch::channel(Vec::new());
        let telemetry = Telemetry::new("test", Tracer::default()).unwrap();
        let telemetry = telemetry.with_observer(Arc::new(move |event: &Event| {
            observed.send_modify(|events: &mut Vec<Event>| events.push(event.clone()))
        }));
        let bind = || TcpListener::bind("127.0.0.1:0");
        let listeners = Listeners {
            ext_proc: bind().await.unwrap().into(),
            health: bind().await.unwrap().into(),
            admin: bind().await.unwrap().into(),
            peers: peers.map(Into::into),
        };
        let replica = Replica::start(Environment::production(), settings, listeners, telemetry.clone()).await.unwrap();
        Self { replica, telemetry, events, port }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.replica.readiness().borrow().is_ready()
    }

    pub(super) async fn ready(&mut self) {
        let mut readiness = self.replica.readiness();
        let ready = readiness.wait_for(|readiness| readiness.is_ready());
        tokio::time::timeout(Duration::from_secs(60), ready).await.expect("ready in time").unwrap();
    }

    pub(super) async fn endpoints(&self) -> BTreeSet<String> {
        let summary = self.replica.scheduler().summary().await.unwrap();
        summary.endpoints.iter().map(|endpoint| endpoint.endpoint.id.to_string()).collect()
    }

    /// The addresses of its endpoints.
    pub(super) async fn addresses(&self) -> Vec<String> {
        let summary = self.replica.scheduler().summary().await.unwrap();
        summary.endpoints.iter().map(|endpoint| endpoint.endpoint.address.to_string()).collect()
    }

    /// Waits until it routes to exactly these endpoints.
    pub(super) async fn until(&self, wanted: &BTreeSet<String>) {
        for _ in 0..6_000 {
            if self.endpoints().await == *wanted {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("{wanted:?} expected, and there are {:?}", self.endpoints().await);
    }

    pub(super) async fn until_metric(&self, line: &str) {
        for _ in 0..6_000 {
            if self.telemetry.page().lines().any(|one| one == line) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("{line} is not on the page");
    }

    pub(super) async fn until_peers(&self, count: usize) {
        let members = self.replica.replication().unwrap().view().members;
        eventually(|| async { members.borrow().len() == count }).await;
    }

    /// Looks from now on whether the pool is empty, every millisecond.
    pub(super) fn looks(&self) -> Look {
        let (scheduler, empty) = (self.replica.scheduler().clone(), Arc::<AtomicBool>::default());
        let (mut task, seen) = (JoinSet::new(), empty.clone());
        task.spawn(async move {
            loop {
                if scheduler.summary().await.is_some_and(|summary| summary.endpoints.is_empty()) {
                    seen.store(true, Ordering::Relaxed);
                }
                sleep(Duration::from_millis(1)).await;
            }
        });
        Look { empty, _task: task }
    }

    pub(super) fn interruptions(&self, resource: &str) -> usize {
        let is = |event: &&Event| matches!(event, Event::WatchInterrupted { resource: one, .. } if *one == resource);
        self.events.borrow().iter().filter(is).count()
    }

    /// Why its watch of `resource` was interrupted.
    pub(super) fn why(&self, resource: &str) -> String {
        let of = |event: &Event| match event {
            Event::WatchInterrupted { resource: one, why } if *one == resource => Some(why.clone()),
            _ => None,
        };
        self.events.borrow().iter().find_map(of).unwrap_or_default()
    }

    /// All that it told so far.
    pub(super) fn events(&self) -> Vec<Event> {
        self.events.borrow().clone()
    }

    /// How many conditions it wrote.
    pub(super) fn wrote_conditions(&self) -> usize {
        let is = |event: &&Event| matches!(event, Event::StatusWrite { outcome: "written", .. });
        self.events.borrow().iter().filter(is).count()
    }

    pub(super) fn refused(&self, wanted: &str) -> bool {
        let is = |event: &Event| matches!(event, Event::ObjectRefused { object, .. } if object == wanted);
        self.events.borrow().iter().any(is)
    }

    pub(super) fn page(&self) -> String {
        self.telemetry.page()
    }

    /// Whether a line of its metrics begins so.
    pub(super) fn has_line(&self, start: &str) -> bool {
        self.page().lines().any(|line| line.starts_with(start))
    }

    /// The priority of a request that names `objective`.
    pub(super) async fn priority(&self, objective: &str) -> i32 {
        self.decided(&[("x-llm-d-inference-objective", objective)]).await.priority
    }

    /// The model that the engine is asked for in a request with these headers, and the rule that says so.
    pub(super) async fn target(&self, headers: &[(&str, &str)]) -> (String, Option<String>) {
        let decided = self.decided(headers).await;
        (decided.target_model, decided.rewritten_by)
    }

    /// The same, as far as the request is sent to an engine.
    pub(super) async fn target_if_sent(&self, headers: &[(&str, &str)]) -> Option<(String, Option<String>)> {
        let decided = self.decided_if_any(headers).await?;
        Some((decided.target_model, decided.rewritten_by))
    }

    async fn decided(&self, headers: &[(&str, &str)]) -> Decided {
        self.decided_if_any(headers).await.expect("a decision")
    }

    async fn decided_if_any(&self, headers: &[(&str, &str)]) -> Option<Decided> {
        let seen = self.events.borrow().len();
        let client = ExternalProcessorClient::new(channel(self.replica.addresses().ext_proc).await);
        let mut stream = ExtProcStream::open(client);
        stream.send(post(headers)).await;
        stream.send(request_body(COMPLETION, true)).await;
        // The first answer comes after the decision, and says of a refusal that there is none.
        stream.next().await.unwrap();
        let events = self.events.borrow();
        events[seen..].iter().find_map(|event| match event {
            Event::Decided(decided) => Some(Decided::clone(decided)),
            _ => None,
        })
    }
}

fn ip(number: usize) -> String {
    format!("127.0.1.{}", number + 1)
}
