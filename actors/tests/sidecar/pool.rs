//! Targets that an InferencePool names: its pods that are ready, at its ports.

use murmuration::dialect::kubernetes::pool_ref::PoolRef;
use murmuration_actors::kubernetes::{ApiServer as Address, PoolName};
use murmuration_actors::sidecar::{AllowedTargets, PoolTargets, SidecarSettings};
use murmuration_kit::api_server::ApiServer;
use murmuration_kit::leg_engine::LegEngine;
use serde_json::{Value, json};
use tokio::time::{Duration, sleep, timeout};

use crate::harness::{Client, Running, TIMEOUT, settings};

const BODY: &str = r#"{"prompt":"x"}"#;
const PODS: &str = "/api/v1/namespaces/prod/pods";
const POOLS: &str = "/apis/inference.networking.k8s.io/v1/namespaces/prod/inferencepools";

fn pod(ip: &str, ready: bool) -> Value {
    let condition = json!({ "type": "Ready", "status": if ready { "True" } else { "False" } });
    json!({
        "metadata": { "labels": { "app": "vllm" } },
        "spec": { "containers": [] },
        "status": { "phase": "Running", "podIP": ip, "conditions": [condition] },
    })
}

fn pool(port: u16) -> Value {
    json!({ "spec": { "selector": { "matchLabels": { "app": "vllm" } }, "targetPorts": [{ "number": port }] } })
}

/// A sidecar that allows the endpoints of a pool, and nothing else.
async fn following(api: &ApiServer, decoder: &LegEngine) -> Running {
    let pool = PoolRef { group: "inference.networking.k8s.io".to_owned(), name: "llama".to_owned() };
    let pool = PoolTargets {
        api: Address::at(format!("http://{}", api.address()).parse().unwrap()),
        pool: PoolName { namespace: "prod".to_owned(), pool },
        me: "sidecar".to_owned(),
    };
    let allowed = AllowedTargets::read("").unwrap();
    Running::start(SidecarSettings { allowed, allowed_pool: Some(pool), ..settings(decoder) }).await
}

/// Asks until the status is this one.
async fn becomes(sidecar: &Running, prefiller: &LegEngine, status: u16) {
    let asking = async {
        while sidecar.complete(&[prefiller], BODY).await.status != status {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(TIMEOUT, asking).await.unwrap_or_else(|_| panic!("{status} in time"));
}

#[tokio::test]
async fn the_pods_of_the_pool_are_allowed_with_its_port_while_they_are_ready() {
    let api = ApiServer::start().await.unwrap();
    let (prefiller, decoder) = (LegEngine::answering("{}").await, LegEngine::answering("{}").await);
    let port = prefiller.address.port();
    let sidecar = following(&api, &decoder).await;
    api.put(POOLS, "llama", pool(port));
    api.put(PODS, "prefill", pod("127.0.0.1", true));
    becomes(&sidecar, &prefiller, 200).await;
    assert!(!prefiller.received().is_empty());
    // The same pod at another port: its metrics, or whatever else is there.
    let elsewhere = LegEngine::answering("{}").await;
    let got = sidecar.complete(&[&elsewhere], BODY).await;
    assert_eq!((got.status, got.message().contains("--inference-pool")), (403, true), "{}", got.body);
    let got = sidecar.post("/v1/completions", &[("x-prefiller-host-port", "localhost:1")], BODY).await;
    assert_eq!(got.status, 403, "pods have no names");
    assert!(elsewhere.received().is_empty());
    // It ends with the pod's readiness, and with its port.
    api.put(PODS, "prefill", pod("127.0.0.1", false));
    becomes(&sidecar, &prefiller, 403).await;
    api.put(PODS, "prefill", pod("127.0.0.1", true));
    becomes(&sidecar, &prefiller, 200).await;
    api.put(POOLS, "llama", pool(port ^ 1));
    becomes(&sidecar, &prefiller, 403).await;
}

#[tokio::test]
async fn what_is_known_stays_allowed_while_the_api_is_away_and_before_it_is_there_clients_may_try_again() {
    let mut api = ApiServer::start().await.unwrap();
    let (prefiller, decoder) = (LegEngine::answering("{}").await, LegEngine::answering("{}").await);
    api.put(POOLS, "llama", pool(prefiller.address.port()));
    api.put(PODS, "prefill", pod("127.0.0.1", true));
    api.goes_away().await;
    let sidecar = following(&api, &decoder).await;
    let got = sidecar.complete(&[&prefiller], BODY).await;
    assert_eq!((got.status, got.message().contains("not known yet")), (503, true), "{}", got.body);
    assert_eq!(sidecar.post("/v1/completions", &[], BODY).await.status, 200, "one without targets is served");
    let ready = Client::send(sidecar.metrics, "GET /readyz", &[], "").await.answer().await;
    assert_eq!(ready.status, 200, "no sidecar depends on the API server");
    api.comes_back().await.unwrap();
    becomes(&sidecar, &prefiller, 200).await;
    api.goes_away().await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(sidecar.complete(&[&prefiller], BODY).await.status, 200);
    let page = Client::send(sidecar.metrics, "GET /metrics", &[], "").await.answer().await.body;
    assert!(page.contains("murmuration_watch_failures_total"), "{page}");
}

#[tokio::test]
async fn only_the_pool_and_its_pods_are_read() {
    let api = ApiServer::start().await.unwrap();
    let (prefiller, decoder) = (LegEngine::answering("{}").await, LegEngine::answering("{}").await);
    for group in ["llm-d.ai", "inference.networking.x-k8s.io"] {
        for kind in ["inferenceobjectives", "inferencemodelrewrites"] {
            api.allow(&format!("/apis/{group}/v1alpha2/namespaces/prod/{kind}"), false);
        }
    }
    api.put(POOLS, "llama", pool(prefiller.address.port()));
    api.put(PODS, "prefill", pod("127.0.0.1", true));
    let sidecar = following(&api, &decoder).await;
    becomes(&sidecar, &prefiller, 200).await;
    assert_eq!(api.calls("/apis/llm-d.ai/v1alpha2/namespaces/prod/inferenceobjectives"), (0, 0));
}
