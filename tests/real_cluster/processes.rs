//! Replicas and engines as processes, and what a replica says of itself.
//!
//! Must not know Kubernetes. All of them end with this process.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use murmuration::config::default_text;
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
        let [ext_proc, peers] = std::array::from_fn(|_| free_port(&ip));
        let mut flags: Vec<String> = ["--pool-name", "llama", "--peer-selector", "app=epp"].map(str::to_owned).into();
        flags.extend(["--insecure-gossip", "--insecure-peer-streams"].map(str::to_owned));
        for (flag, port) in [("--grpc-port", ext_proc), ("--peer-port", peers), ("--gossip-port", gossip)] {
            flags.extend([flag.to_owned(), port.to_string()]);
        }
        Self::run((&format!("epp-{number}"), &ip), ext_proc, &flags, (kubeconfig, folder))
    }

    /// Starts a replica of several pools, without peers. Returns it with the port of each pool.
    pub(crate) fn start_of_pools(names: &[&str], kubeconfig: &Path) -> (Self, Vec<SocketAddr>) {
        let (ip, folder) = (replica_ip(9), kubeconfig.parent().unwrap());
        let config = folder.join("pool.yaml");
        fs::write(&config, default_text()).unwrap();
        let ports: Vec<u16> = names.iter().map(|_| free_port(&ip)).collect();
        let of = |(name, port): (&&str, &u16)| ["--pool".to_owned(), format!("{name}={port}:{}", config.display())];
        let flags: Vec<String> = names.iter().zip(&ports).flat_map(of).collect();
        let replica = Self::run(("epp-pools", &ip), ports[0], &flags, (kubeconfig, folder));
        let at = |port: u16| SocketAddr::new(ip.parse().unwrap(), port);
        (replica, ports.into_iter().map(at).collect())
    }

    /// Starts a replica with these flags.
    pub(crate) fn start_with(flags: &[&str], kubeconfig: &Path) -> Self {
        let (ip, folder) = (replica_ip(8), kubeconfig.parent().unwrap());
        let ext_proc = free_port(&ip);
        let mut flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        flags.extend(["--grpc-port".to_owned(), ext_proc.to_string()]);
        Self::run(("epp-scale", &ip), ext_proc, &flags, (kubeconfig, folder))
    }

    /// The memory that it holds.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id().unwrap())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }

    /// The CPU time that it used so far, in ticks of 10 ms.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id().unwrap())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    }

    fn run((name, ip): (&str, &str), ext_proc: u16, flags: &[String], (kubeconfig, folder): (&Path, &Path)) -> Self {
        let [health, admin] = std::array::from_fn(|_| free_port(ip));
        let log = folder.join(format!("{name}.log"));
        let own = std::env::current_exe().unwrap();
        let path = own.parent().and_then(Path::parent).unwrap().join("murmuration");
        assert!(path.exists(), "{} is missing; tests/kubernetes builds it", path.display());
        let mut command = Command::new(path);
        command.args(["serve", "--exit-with-stdin", "--secure-serving=false", "--log-format", "text", "--bind", ip]);
        command.args(flags);
        for (flag, port) in [("--grpc-health-port", health), ("--metrics-port", admin)] {
            command.args([flag, &port.to_string()]);
        }
        command.env("POD_NAME", name).env("NAMESPACE", "prod").env("KUBECONFIG", kubeconfig);
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
        endpoints(&self.page("/debug/fleet").await?)
    }

    /// The endpoints of one of its pools.
    pub(crate) async fn endpoints_of(&self, pool: &str) -> Option<BTreeSet<String>> {
        endpoints(&self.page(&format!("/debug/pools/{pool}/fleet")).await?)
    }

    /// Whether one of its pools is ready.
    pub(crate) async fn is_pool_ready(&self, pool: &str) -> bool {
        self.pages.get(&format!("/readyz/{pool}")).await.is_ok_and(|answer| answer.status == 200)
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
        served_by(self.ext_proc, &headers).await.is_some()
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

/// The engine that served a request which came in at `ext_proc`; `None` where it failed.
pub(crate) async fn served_by(ext_proc: SocketAddr, headers: &[(&str, &str)]) -> Option<SocketAddr> {
    let client = ExternalProcessorClient::new(murmuration_kit::replica::channel(ext_proc).await);
    let (reply, _) = ExtProcStream::open(client).ask(post(headers), BODY).await;
    let address = destination(&reply).parse().unwrap();
    let answer = Client::new(address).post("/v1/completions", BODY, &[]).await;
    answer.is_ok_and(|answer| answer.status == 200).then_some(address)
}

/// The ids of the endpoints on a page.
fn endpoints(page: &Value) -> Option<BTreeSet<String>> {
    let ids = page["endpoints"].as_array()?.iter().filter_map(|one| one["endpoint"]["id"].as_str());
    Some(ids.map(str::to_owned).collect())
}
