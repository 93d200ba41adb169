//! Three replicas of the real program against a real API server: a real Role, real CRDs, and pods whose status is
//! patched so that each is an emulated engine. `tests/kubernetes` runs it and says what it needs.

// It runs programs against a real clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, clippy::disallowed_types)]

mod api_server;
mod legacy;
mod objects;
mod processes;
mod scale;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use api_server::{ADMIN, ApiServer, EPP};
use objects::{Cluster, engine_ip};
use processes::{Engine, ReplicaProcess};

const ENGINES: usize = 3;
const REPLICAS: usize = 3;

/// Waits until `wanted` is so; returns how long it took.
async fn until<F: Future<Output = bool>>(what: &str, wanted: impl Fn() -> F) -> Duration {
    let began = Instant::now();
    while !wanted().await {
        assert!(began.elapsed() < Duration::from_secs(90), "not seen in time: {what}");
        sleep(Duration::from_millis(20)).await;
    }
    println!("{what}: {} ms", began.elapsed().as_millis());
    began.elapsed()
}

/// Waits until every replica routes to exactly these endpoints.
async fn until_endpoints(what: &str, replicas: &[ReplicaProcess], wanted: &BTreeSet<String>) -> Duration {
    let equal = || async {
        for replica in replicas {
            if replica.endpoints().await.as_ref() != Some(wanted) {
                return false;
            }
        }
        true
    };
    until(what, equal).await
}

fn ranks(pods: impl IntoIterator<Item = String>, ranks: usize) -> BTreeSet<String> {
    let of = |pod: String| (0..ranks).map(move |rank| format!("prod/{pod}-rank-{rank}"));
    pods.into_iter().flat_map(of).collect()
}

fn engines(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("engine-{number}")).collect()
}

/// All of the story in one program, because an API server takes seconds to start.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut server = ApiServer::start().await;
    let cluster = Cluster::of(&server).await;
    cluster.create_namespace_and_role().await;
    let port = processes::free_port("127.0.1.1");
    let mut running = Vec::new();
    for number in 0..ENGINES {
        running.push(Engine::start(engine_ip(number), port).await);
    }
    // Neither CRDs nor a pool: replicas wait, and do not end.
    for number in 0..REPLICAS {
        cluster.create_pod(&format!("epp-{number}"), "epp", &processes::replica_ip(number), false).await;
    }
    let mut replicas = ReplicaProcess::start_tier(REPLICAS, &server.kubeconfig(EPP)).await;
    let waits = "the CRD of inferencepools installed";
    until("replicas wait for the CRD", || async { replicas.iter().all(|replica| replica.log().contains(waits)) }).await;
    assert!(!replicas[0].is_ready().await);
    cluster.install_crds().await;
    cluster.put_pool("vllm", &[port]).await;
    for number in 0..ENGINES {
        cluster.create_pod(&engines(ENGINES)[number], "vllm", &engine_ip(number), true).await;
    }
    until_endpoints("CRDs installed, pool and pods known", &replicas, &ranks(engines(ENGINES), 1)).await;
    for replica in &replicas {
        until("replica ready", || replica.is_ready()).await;
        until("peers found by their pods", || async { replica.peers().await == REPLICAS - 1 }).await;
    }
    for replica in &replicas {
        replica.request_is_served(None).await;
    }
    println!("a request through each replica was served by an engine");
    readers(&cluster, &replicas[0]).await;
    conditions(&cluster, &replicas).await;
    priorities(&cluster, &replicas[0]).await;
    edits(&cluster, &replicas, port).await;
    churn(&cluster, &replicas).await;
    away(&cluster, &mut server, &replicas).await;
    rights(&cluster, &mut server, &replicas).await;
    cluster.delete_pool().await;
    until("pool deleted, replica not ready", || async { !replicas[0].is_ready().await }).await;
    cluster.put_pool("vllm", &[port]).await;
    until_endpoints("pool created again", &replicas, &ranks(engines(ENGINES), 1)).await;
    for replica in &mut replicas {
        replica.assert_runs();
    }
    pools(&cluster, &server, port).await;
    legacy::run(&cluster, &replicas[0]).await;
    scale::run(&cluster, &server).await;
    // A replica that goes is forgotten, and one that comes is found.
    let last = replicas.pop().unwrap();
    last.stop().await;
    cluster.delete_pod("epp-2").await;
    until("a replica left", || async { replicas[0].peers().await == REPLICAS - 2 }).await;
    for name in objectives() {
        cluster.put_objective(&name, 9).await;
    }
    until_accepted("the others write its conditions", &cluster).await;
    drop(running);
}

/// Who may read metrics: nobody until the replicas may ask, then whom the API server allows to.
async fn readers(cluster: &Cluster, replica: &ReplicaProcess) {
    let (status, why) = replica.metrics_as(Some(ADMIN)).await;
    assert_eq!(status, 503, "{why}");
    let missing = "its ClusterRole must allow create of tokenreviews";
    assert!(replica.log().contains(missing), "{}", replica.log());
    cluster.allow_reviews().await;
    until("metrics are readable", || async { replica.metrics_as(Some(ADMIN)).await.0 == 200 }).await;
    assert_eq!(replica.metrics_as(None).await.0, 401);
    assert_eq!(replica.metrics_as(Some("nobody")).await.0, 401);
    assert_eq!(replica.metrics_as(Some(EPP)).await.0, 403, "it may ask, and not read");
}

fn objectives() -> Vec<String> {
    (0..12).map(|number| format!("objective-{number}")).collect()
}

async fn until_accepted(what: &str, cluster: &Cluster) {
    let accepted = || async {
        for name in objectives() {
            if !cluster.is_accepted(&name).await {
                return false;
            }
        }
        true
    };
    until(what, accepted).await;
}

/// Each condition is written once, by one of the replicas, and none of them is overwritten.
async fn conditions(cluster: &Cluster, replicas: &[ReplicaProcess]) {
    for name in objectives() {
        cluster.put_objective(&name, 3).await;
    }
    until_accepted("conditions of objectives", cluster).await;
    cluster.put_rewrite("tuned", "tiny").await;
    until("the condition of a rewrite", || cluster.is_rewrite_accepted("tuned")).await;
    let mut versions = Vec::new();
    for name in objectives() {
        versions.push(cluster.version_and_writers(&name).await);
    }
    sleep(Duration::from_secs(3)).await;
    let mut written = 0;
    for replica in replicas {
        let own = replica.conditions_written().await;
        println!("conditions written by one replica: {own}");
        written += own;
    }
    assert_eq!(written, objectives().len() + 1, "once each");
    for (name, before) in objectives().into_iter().zip(versions) {
        assert_eq!(before.1, 1, "{name} has one manager of its status");
        assert_eq!(cluster.version_and_writers(&name).await, before, "{name} was written again");
    }
    cluster.delete_rewrite("tuned").await;
}

/// One replica of three pools: each has its pods, its port and its readiness.
async fn pools(cluster: &Cluster, server: &ApiServer, port: u16) {
    let names = ["one", "two", "three"];
    for (number, name) in names.iter().enumerate() {
        cluster.put_pool_called(name, name, &[port]).await;
        cluster.create_pod(&format!("{name}-0"), name, &engine_ip(number), true).await;
    }
    let (replica, ports) = ReplicaProcess::start_of_pools(&names, &server.kubeconfig(EPP));
    for (number, name) in names.iter().enumerate() {
        let own = ranks([format!("{name}-0")], 1);
        until("a pool of several", || async { replica.endpoints_of(name).await.as_ref() == Some(&own) }).await;
        let engine = format!("{}:{port}", engine_ip(number)).parse().unwrap();
        assert_eq!(processes::served_by(ports[number], &[]).await, Some(engine), "{name}: {}", replica.log());
    }
    cluster.delete_pool_called("two").await;
    until("one of three pools deleted", || async { !replica.is_pool_ready("two").await }).await;
    assert!(replica.is_pool_ready("one").await && replica.is_pool_ready("three").await);
    assert_eq!(replica.endpoints_of("two").await, Some(BTreeSet::new()));
    cluster.put_pool_called("two", "two", &[port]).await;
    until("and created again", || replica.is_pool_ready("two")).await;
    replica.stop().await;
    for name in names {
        cluster.delete_pool_called(name).await;
        cluster.delete_pod(&format!("{name}-0")).await;
    }
}

async fn priorities(cluster: &Cluster, replica: &ReplicaProcess) {
    cluster.put_objective("batch", -5).await;
    let seen = || async {
        replica.request_is_served(Some("batch")).await;
        replica.metrics().await.contains("priority=\"-5\"")
    };
    until("priority of an objective", seen).await;
}

async fn edits(cluster: &Cluster, replicas: &[ReplicaProcess], port: u16) {
    cluster.put_pool("vllm", &[port, 9]).await;
    until_endpoints("a port was added", replicas, &ranks(engines(ENGINES), 2)).await;
    cluster.put_pool("vllm", &[port]).await;
    until_endpoints("a port was removed", replicas, &ranks(engines(ENGINES), 1)).await;
    cluster.set_ready("engine-0", false).await;
    let others = ranks(engines(ENGINES).into_iter().skip(1), 1);
    until_endpoints("a pod is not Ready", replicas, &others).await;
    cluster.set_ready("engine-0", true).await;
    let took = until_endpoints("a pod is Ready", replicas, &ranks(engines(ENGINES), 1)).await;
    assert!(took < Duration::from_secs(30));
}

/// Fifty pods come, and go.
async fn churn(cluster: &Cluster, replicas: &[ReplicaProcess]) {
    let names: Vec<String> = (0..50).map(|number| format!("churn-{number:02}")).collect();
    for (number, name) in names.iter().enumerate() {
        cluster.create_pod(name, "vllm", &format!("127.3.0.{}", number + 1), true).await;
    }
    let all = ranks(engines(ENGINES).into_iter().chain(names.iter().cloned()), 1);
    until_endpoints("50 pods came", replicas, &all).await;
    for name in &names {
        cluster.delete_pod(name).await;
    }
    until_endpoints("50 pods went", replicas, &ranks(engines(ENGINES), 1)).await;
}

/// The API server is killed under load, and comes back.
async fn away(cluster: &Cluster, server: &mut ApiServer, replicas: &[ReplicaProcess]) {
    let (failed, served, over) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let load = async {
        while !over.load(Ordering::Relaxed) {
            for replica in replicas {
                let count = if replica.is_served(None).await { &served } else { &failed };
                count.fetch_add(1, Ordering::Relaxed);
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let story = async {
        server.kill().await;
        let interrupted = || async {
            let page = replicas[0].metrics().await;
            page.contains("murmuration_watch_interrupted{resource=\"pods\"} 1")
        };
        until("the outage shows in metrics", interrupted).await;
        sleep(Duration::from_secs(5)).await;
        assert_eq!(replicas[0].endpoints().await.unwrap(), ranks(engines(ENGINES), 1));
        server.restart().await;
        cluster.set_ready("engine-2", false).await;
        until_endpoints("after the API server was back", replicas, &ranks(engines(ENGINES - 1), 1)).await;
        cluster.set_ready("engine-2", true).await;
        until_endpoints("and a pod more", replicas, &ranks(engines(ENGINES), 1)).await;
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(load, story);
    println!("while the API server was away: {served:?} requests served, {failed:?} failed");
    assert_eq!(failed.load(Ordering::Relaxed), 0);
}

/// The rights are taken away, and given back.
async fn rights(cluster: &Cluster, server: &mut ApiServer, replicas: &[ReplicaProcess]) {
    let over = || async { replicas[0].metrics().await.contains("murmuration_watch_interrupted{resource=\"pods\"} 0") };
    until("the outage is over in metrics too", over).await;
    cluster.delete_role_binding().await;
    // Watches that run are not ended by it: only a new one is refused.
    server.kill().await;
    server.restart().await;
    let denied = "its Role must allow get, list and watch of pods";
    until("rights are missing", || async { replicas[0].log().contains(denied) }).await;
    assert_eq!(replicas[0].endpoints().await.unwrap(), ranks(engines(ENGINES), 1));
    assert!(replicas[0].is_ready().await);
    cluster.set_ready("engine-1", false).await;
    cluster.create_role_binding().await;
    let others = ranks(["engine-0".to_owned(), "engine-2".to_owned()], 1);
    until_endpoints("rights are back", replicas, &others).await;
    cluster.set_ready("engine-1", true).await;
    until_endpoints("all pods are back", replicas, &ranks(engines(ENGINES), 1)).await;
}
