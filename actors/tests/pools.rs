//! One process serves two pools from two configuration files: each request stays in its pool, and two replicas share
//! what they know pool by pool, over one membership.
//!
//! The pools have endpoints of the same names at other addresses, so whatever mixes two pools is seen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods, reason = "a test ends its tasks with its runtime")]

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use murmuration_actors::admin::client;
use murmuration_kit::ExtProcStream;
use murmuration_kit::engine::{Engine, MetricsBehavior, page};
use murmuration_kit::ext_proc::expect::{destination, json, post, refusal, request_body, response_body};
use murmuration_proto::ext_proc::ExternalProcessorClient;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// The longest wait for anything; a test that waits longer fails.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The pools, and how many requests wait at each engine of theirs.
const POOLS: [(&str, u32); 2] = [("gemma", 3), ("llama", 7)];

/// The engines, and the configuration files of the pools. Deleted when dropped.
struct Fleet {
    folder: PathBuf,
    engines: BTreeMap<&'static str, Vec<Engine>>,
}

/// A running `murmuration serve`. Killed when dropped.
struct Process {
    _child: Child,
    admin: SocketAddr,
    ext_proc: BTreeMap<String, SocketAddr>,
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_murmuration"));
    command.kill_on_drop(true).stdin(Stdio::null());
    command
}

// === impl Fleet ===

impl Fleet {
    async fn start() -> Self {
        static FOLDERS: AtomicU64 = AtomicU64::new(0);
        let name = format!("murmuration-pools-{}-{}", std::process::id(), FOLDERS.fetch_add(1, Ordering::Relaxed));
        let mut fleet = Self { folder: std::env::temp_dir().join(name), engines: BTreeMap::new() };
        std::fs::create_dir_all(&fleet.folder).unwrap();
        for (pool, waiting) in POOLS {
            let mut engines = Vec::new();
            for _ in 0..2 {
                engines.push(Engine::start(MetricsBehavior::Whole(page(waiting, 1))).await);
            }
            let listed = engines.iter().enumerate().map(|(number, engine)| {
                let at = engine.address;
                format!("- {{name: e{number}, address: {}, port: {}}}\n", at.ip(), at.port())
            });
            let endpoints = fleet.folder.join(format!("{pool}-endpoints.yaml"));
            std::fs::write(&endpoints, format!("endpoints:\n{}", listed.collect::<String>())).unwrap();
            let config = format!(
                "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- type: prefix-cache-scorer\n\
                 - type: file-discovery\n  parameters: {{path: {:?}}}\n\
                 dataLayer: {{discovery: {{pluginRef: file-discovery}}}}\n",
                endpoints.display().to_string()
            );
            std::fs::write(fleet.config(pool), config).unwrap();
            fleet.engines.insert(pool, engines);
        }
        fleet
    }

    fn config(&self, pool: &str) -> PathBuf {
        self.folder.join(format!("{pool}.yaml"))
    }

    fn pool_flag(&self, pool: &str) -> String {
        format!("--pool={pool}=0:{}", self.config(pool).display())
    }

    fn addresses(&self, pool: &str) -> Vec<String> {
        self.engines[pool].iter().map(|engine| engine.address.to_string()).collect()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

// === impl Process ===

impl Process {
    /// Starts a replica of these pools, and waits until it logs where it serves.
    async fn start(fleet: &Fleet, pools: &[&str], more: &[String]) -> Self {
        let mut command = program();
        command.args(["serve", "--bind=127.0.0.1", "--grpc-health-port=0", "--metrics-port=0"]);
        command.args(["--secure-serving=false", "--refresh-prometheus-metrics-interval=100ms"]);
        command.args(pools.iter().map(|pool| fleet.pool_flag(pool))).args(more);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let (mut admin, mut ext_proc) = (None, BTreeMap::new());
        let reading = async {
            while ext_proc.len() < pools.len() {
                let line = log.next_line().await.unwrap().expect("the log goes on");
                let value: Value = serde_json::from_str(&line).unwrap_or_else(|why| panic!("{why}: {line}"));
                let address = |key: &str| value[key].as_str().unwrap().parse::<SocketAddr>().unwrap();
                match value["message"].as_str() {
                    Some("started") => admin = Some(address("admin")),
                    Some("serves") => {
                        ext_proc.insert(value["pool"].as_str().unwrap().to_owned(), address("ext_proc"));
                    }
                    _ => {}
                }
            }
        };
        timeout(TIMEOUT, reading).await.expect("a replica that starts");
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Self { _child: child, admin: admin.unwrap(), ext_proc }
    }

    async fn text(&self, path: &str) -> (u16, String) {
        let (status, text) = client::fetch(self.admin, path).await.unwrap();
        (status.as_u16(), text)
    }

    async fn debug(&self, pool: &str, page: &str) -> Value {
        serde_json::from_str(&self.text(&format!("/debug/pools/{pool}/{page}")).await.1).unwrap()
    }

    /// Waits until `wanted` accepts the endpoints of a pool.
    async fn until_endpoints(&self, pool: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let reading = async {
            loop {
                let fleet = self.debug(pool, "fleet").await;
                let endpoints = fleet["endpoints"].as_array().cloned().unwrap_or_default();
                if endpoints.len() == 2 && wanted(&endpoints) {
                    return endpoints;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        match timeout(TIMEOUT, reading).await {
            Ok(endpoints) => endpoints,
            Err(_) => panic!("not seen in time in {pool}: {}", self.debug(pool, "fleet").await),
        }
    }

    /// Waits until the metrics page has this line.
    async fn until_metric(&self, line: &str) {
        let reading = async {
            while !self.text("/metrics").await.1.lines().any(|shown| shown == line) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(TIMEOUT, reading).await.is_err() {
            panic!("no {line:?} in time: {}", self.text("/metrics").await.1);
        }
    }

    async fn until_ready(&self) {
        let reading = async {
            while self.text("/readyz").await.0 != 200 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(TIMEOUT, reading).await.expect("a ready replica");
    }

    async fn stream(&self, pool: &str) -> ExtProcStream {
        let uri = format!("http://{}", self.ext_proc[pool]);
        ExtProcStream::open(ExternalProcessorClient::connect(uri).await.unwrap())
    }
}

fn prompt(topic: &str) -> Vec<u8> {
    format!(r#"{{"model": "tiny", "prompt": "{}", "max_tokens": 4}}"#, format!("{topic} ").repeat(800)).into_bytes()
}

/// Starts two replicas of both pools that know each other.
async fn two_replicas(fleet: &Fleet, more: &[&str]) -> [Process; 2] {
    let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let ports = sockets.map(|socket| socket.local_addr().unwrap().port());
    let flags = |number: usize| {
        let mut flags: Vec<String> = ports.iter().map(|port| format!("--peer=127.0.0.1:{port}")).collect();
        flags.extend([format!("--gossip-port={}", ports[number]), format!("--replica-name=r{number}")]);
        flags.extend(["--insecure-gossip".to_owned(), "--peer-port=0".to_owned()]);
        flags.extend(more.iter().map(|&flag| flag.to_owned()));
        flags
    };
    let pools = ["gemma", "llama"];
    let replicas =
        [Process::start(fleet, &pools, &flags(0)).await, Process::start(fleet, &["llama", "gemma"], &flags(1)).await];
    for replica in &replicas {
        replica.until_ready().await;
        replica.until_metric("murmuration_peers 1").await;
    }
    replicas
}

async fn each_pool_is_for_itself(more: &[&str]) {
    let fleet = Fleet::start().await;
    let replicas = two_replicas(&fleet, more).await;
    for (pool, waiting) in POOLS {
        for replica in &replicas {
            let known = |endpoint: &Value| endpoint["report"]["waiting"] == waiting;
            let endpoints = replica.until_endpoints(pool, |endpoints| endpoints.iter().all(known)).await;
            for endpoint in endpoints {
                let address = endpoint["endpoint"]["address"].as_str().unwrap();
                assert!(fleet.addresses(pool).iter().any(|own| own == address), "{address} of {pool}");
            }
            replica.until_metric(&format!("llm_d_epp_ready_endpoints{{name=\"{pool}\"}} 2")).await;
            assert_eq!(replica.text(&format!("/readyz/{pool}")).await.0, 200);
        }
    }
    let mut stream = replicas[0].stream("llama").await;
    let (head, _) = stream.ask(post(&[]), &prompt("starlings")).await;
    let chosen = destination(&head);
    assert!(fleet.addresses("llama").contains(&chosen), "{chosen}");
    let is_chosen = |endpoint: &&Value| endpoint["endpoint"]["address"] == chosen.as_str();
    let placed = |endpoint: &Value| endpoint["index_blocks"].as_u64() > Some(0) && endpoint["foreign"]["requests"] == 1;
    replicas[1].until_endpoints("llama", |endpoints| endpoints.iter().find(is_chosen).is_some_and(placed)).await;
    for replica in &replicas {
        let untouched = |endpoint: &Value| {
            endpoint["index_blocks"] == 0
                && endpoint["foreign"]["requests"] == 0
                && endpoint["in_flight"]["requests"] == 0
        };
        let endpoints = replica.until_endpoints("gemma", |_| true).await;
        assert!(endpoints.iter().all(untouched), "{endpoints:?}");
    }
    stream.send(json()).await;
    stream.answer().await;
    stream.send(response_body(b"{}", true)).await;
    stream.answer().await;
    let over = |endpoint: &Value| endpoint["foreign"]["requests"] == 0;
    replicas[1].until_endpoints("llama", |endpoints| endpoints.iter().all(over)).await;
    let closed =
        |pool: &str| format!("murmuration_tickets_closed_total{{inference_pool=\"{pool}\",outcome=\"Completed\"}} 1");
    replicas[0].until_metric(&closed("llama")).await;
    assert!(!replicas[0].text("/metrics").await.1.contains(&closed("gemma")));
    assert_eq!(replicas[0].debug("llama", "decisions").await.as_array().unwrap().len(), 1);
    assert_eq!(replicas[0].debug("gemma", "decisions").await.as_array().unwrap().len(), 0);
    // The other replica finds the prefix in its own pool, and knows nothing of it in the other.
    let (head, _) = replicas[1].stream("llama").await.ask(post(&[]), &prompt("starlings")).await;
    assert_eq!(destination(&head), chosen);
    let (head, _) = replicas[1].stream("gemma").await.ask(post(&[]), &prompt("starlings")).await;
    assert!(fleet.addresses("gemma").contains(&destination(&head)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_pools_of_one_process_share_nothing_and_replicate_each_for_itself() {
    each_pool_is_for_itself(&["--insecure-peer-streams"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_streams_two_pools_replicate_each_for_itself() {
    each_pool_is_for_itself(&["--peer-streams=false"]).await;
}

#[tokio::test]
async fn pages_without_a_pools_name_say_which_pools_there_are() {
    let fleet = Fleet::start().await;
    let process = Process::start(&fleet, &["gemma", "llama"], &[]).await;
    process.until_ready().await;
    let (status, text) = process.text("/debug/fleet").await;
    assert!(status == 404 && text.contains("gemma, llama"), "{status} {text}");
    let admin = process.admin.to_string();
    let shown = |arguments: &[&str]| program().args(arguments).args(["--admin", &admin]).output();
    let shown = shown(&["fleet", "--pool", "llama"]).await.unwrap();
    assert!(shown.status.success(), "{shown:?}");
    let pools: Value = serde_json::from_str(&process.text("/debug/pools").await.1).unwrap();
    assert_eq!(pools.as_array().map(Vec::len), Some(2), "{pools}");
}

#[tokio::test]
async fn a_pool_that_is_not_ready_holds_up_the_replica_and_not_the_other_pool() {
    let fleet = Fleet::start().await;
    std::fs::remove_file(fleet.folder.join("llama-endpoints.yaml")).unwrap();
    let process = Process::start(&fleet, &["gemma", "llama"], &[]).await;
    let known = |endpoint: &Value| endpoint["report"]["waiting"] == 3;
    process.until_endpoints("gemma", |endpoints| endpoints.iter().all(known)).await;
    for (path, expected) in [("/readyz/gemma", 200), ("/readyz/llama", 503), ("/readyz", 503), ("/readyz/other", 404)] {
        assert_eq!(process.text(path).await.0, expected, "{path}");
    }
    let (head, _) = process.stream("gemma").await.ask(post(&[]), &prompt("herring")).await;
    assert!(fleet.addresses("gemma").contains(&destination(&head)));
    let mut refused = process.stream("llama").await;
    refused.send(post(&[])).await;
    refused.send(request_body(&prompt("herring"), true)).await;
    assert_eq!(refusal(&refused.answer().await).0, 503);
}

#[tokio::test]
async fn more_pools_than_gossip_has_room_for_are_refused() {
    for (pools, padding, expected) in [
        (129, "", "--pool is given 129 times, and a replica serves at most 128"),
        (128, &"a".repeat(80), "the names of all --pool have 1"),
    ] {
        let pools = (0..pools).map(|n| format!("--pool={padding}{n:03}=0:/nowhere.yaml"));
        let arguments = ["serve", "--bind=127.0.0.1"].map(str::to_owned).into_iter().chain(pools);
        let output = timeout(TIMEOUT, program().args(arguments).output()).await.unwrap().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{errors}");
        assert!(errors.contains(&format!("murmuration: {expected}")), "{errors}");
    }
}

#[tokio::test]
async fn a_configuration_that_is_wrong_is_named_with_its_pool_and_file() {
    let fleet = Fleet::start().await;
    let bad = fleet.folder.join("bad.yaml");
    std::fs::write(&bad, "kind: EndpointPickerConfig\n").unwrap();
    for (second, expected) in [
        (
            format!("--pool=mistral=0:{}", bad.display()),
            format!("pool mistral: 1 error in the configuration\n{}:1:1: ", bad.display()),
        ),
        ("--pool=mistral=0:/nowhere.yaml".to_owned(), "pool mistral: can't read /nowhere.yaml: ".to_owned()),
        (fleet.pool_flag("gemma"), "--pool gemma: two pools have this name".to_owned()),
    ] {
        let first = fleet.pool_flag("gemma");
        let arguments = ["serve", "--bind=127.0.0.1", "--grpc-health-port=0", "--metrics-port=0", &first, &second];
        let output = timeout(TIMEOUT, program().args(arguments).output()).await.unwrap().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{errors}");
        assert!(errors.contains(&format!("murmuration: {expected}")), "{errors}");
    }
}
