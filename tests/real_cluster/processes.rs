//! Replicas and engines as processes, and what a replica says of itself.
//!
//! Must not know Kubernetes. All of them end with this process.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use murmuration_kit::ExtProcStream;
use murmuration_kit::client::Client;
use murmuration_kit::ext_proc::expect::{destination, post};
use murmuration_proto::ext_proc::ExternalProcessorClient;
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::api_server::ADMIN;

/// A request that the emulated engines serve.
const BODY: &[u8] = br#"{"model":"tiny","prompt":"hello","max_tokens":2}"#;

/// An emulated engine.
pub(crate) struct Engine {
    _process: Child,
}

/// One replica.
pub(crate) struct ReplicaProcess {
    process: Child,
    log: PathBuf,
    ext_proc: SocketAddr,
    pages: Client,
}

/// A port that is free at `ip`, for TCP and for UDP.
pub(crate) fn free_port(ip: &str) -> u16 {
    loop {
        let port = TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap().port();
        if UdpSocket::bind((ip, port)).is_ok() {
            return port;
        }
    }
}

/// The address of a replica.
pub(crate) fn replica_ip(number: usize) -> String {
    format!("127.0.2.{}", number + 1)
}

/// A program that was built beside this test; it stops when this process ends.
fn program(name: &str) -> Command {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().and_then(Path::parent).unwrap().join(name);
    assert!(path.exists(), "{} is missing; tests/kubernetes builds it", path.display());
    let mut command = Command::new(path);
    command.arg("--exit-with-stdin").stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true);
    command
}

impl Engine {
    pub(crate) async fn start(ip: String, port: u16) -> Self {
        let mut command = program("engine-sim");
        command.args(["--bind", &ip, "--port", &port.to_string(), "--name", &ip]).stderr(Stdio::null());
        let process = command.spawn().unwrap();
        let client = Client::new(format!("{ip}:{port}").parse().unwrap());
        timeout(Duration::from_secs(30), async {
            while client.get("/metrics").await.is_err() {
                sleep(Duration::from_millis(50)).await;
            }
        })
        .await
        .expect("an engine in time");
        Self { _process: process }
    }
}

impl ReplicaProcess {
    /// Starts replicas that find their pool and each other in the cluster of `kubeconfig`.
    pub(crate) async fn start_tier(count: usize, kubeconfig: &Path) -> Vec<Self> {
        let gossip = free_port(&replica_ip(0));
        let folder = kubeconfig.parent().unwrap();
        (0..count).map(|number| Self::start(number, gossip, kubeconfig, folder)).collect()
    }

    fn start(number: usize, gossip: u16, kubeconfig: &Path, folder: &Path) -> Self {
        let ip = replica_ip(number);
        let [ext_proc, health, admin, peers] = std::array::from_fn(|_| free_port(&ip));
        let log = folder.join(format!("epp-{number}.log"));
        let own = std::env::current_exe().unwrap();
        let path = own.parent().and_then(Path::parent).unwrap().join("murmuration");
        assert!(path.exists(), "{} is missing; tests/kubernetes builds it", path.display());
        let mut command = Command::new(path);
        command.args(["serve", "--exit-with-stdin", "--secure-serving=false", "--log-format", "text"]);
        command.args(["--bind", &ip, "--pool-name", "llama", "--peer-selector", "app=epp"]);
        command.args(["--insecure-gossip", "--insecure-peer-streams"]);
        let ports = [
            ("--grpc-port", ext_proc),
            ("--grpc-health-port", health),
            ("--metrics-port", admin),
            ("--peer-port", peers),
            ("--gossip-port", gossip),
        ];
        for (flag, port) in ports {
            command.args([flag, &port.to_string()]);
        }
        command.env("POD_NAME", format!("epp-{number}")).env("NAMESPACE", "prod").env("KUBECONFIG", kubeconfig);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap()).kill_on_drop(true);
        let at = |port: u16| SocketAddr::new(ip.parse().unwrap(), port);
        Self { process: command.spawn().unwrap(), log, ext_proc: at(ext_proc), pages: Client::new(at(admin)) }
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) async fn is_ready(&self) -> bool {
        self.pages.get("/readyz").await.is_ok_and(|answer| answer.status == 200)
    }

    async fn page(&self, path: &str) -> Option<Value> {
        serde_json::from_slice(&self.pages.get(path).await.ok()?.body).ok()
    }

    pub(crate) async fn endpoints(&self) -> Option<BTreeSet<String>> {
        let page = self.page("/debug/fleet").await?;
        let ids = page["endpoints"].as_array()?.iter().filter_map(|one| one["endpoint"]["id"].as_str());
        Some(ids.map(str::to_owned).collect())
    }

    /// How many peers it knows.
    pub(crate) async fn peers(&self) -> usize {
        let page = self.page("/debug/peers").await;
        page.and_then(|page| page["peers"].as_array().map(Vec::len)).unwrap_or(0)
    }

    pub(crate) async fn metrics(&self) -> String {
        self.metrics_as(Some(ADMIN)).await.1
    }

    /// What `/metrics` answers to a user of the cluster: a status and a body.
    pub(crate) async fn metrics_as(&self, user: Option<&str>) -> (u16, String) {
        let bearer = user.map(|user| format!("Bearer {user}-token"));
        let headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
        let page = self.pages.get_with("/metrics", &headers).await.unwrap();
        (page.status.as_u16(), String::from_utf8_lossy(&page.body).into_owned())
    }

    /// How many conditions it wrote.
    pub(crate) async fn conditions_written(&self) -> usize {
        let page = self.metrics().await;
        let lines = page
            .lines()
            .filter(|line| line.starts_with("murmuration_status_writes_total") && line.contains("outcome=\"written\""));
        lines.filter_map(|line| line.rsplit(' ').next()).map(|count| count.parse::<usize>().unwrap()).sum()
    }

    /// Whether a request is routed by it and answered by the engine that it chose.
    pub(crate) async fn is_served(&self, objective: Option<&str>) -> bool {
        let headers: Vec<(&str, &str)> =
            objective.map(|name| ("x-llm-d-inference-objective", name)).into_iter().collect();
        let client = ExternalProcessorClient::new(murmuration_kit::replica::channel(self.ext_proc).await);
        let (reply, _) = ExtProcStream::open(client).ask(post(&headers), BODY).await;
        let engine = Client::new(destination(&reply).parse().unwrap());
        engine.post("/v1/completions", BODY, &[]).await.is_ok_and(|answer| answer.status == 200)
    }

    pub(crate) async fn request_is_served(&self, objective: Option<&str>) {
        assert!(self.is_served(objective).await, "{}", self.log());
    }

    pub(crate) fn assert_runs(&mut self) {
        assert!(self.process.try_wait().unwrap().is_none(), "a replica ended: {}", self.log());
    }

    pub(crate) async fn stop(mut self) {
        self.process.kill().await.unwrap();
    }
}
