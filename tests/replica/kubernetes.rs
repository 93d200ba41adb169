//! Replicas that find their pool and their peers in the Kubernetes API, against one that fails as it is told. The same
//! against a real API server: `tests/kubernetes`.
//!
//! | rule | test |
//! |---|---|
//! | a pod is routable once it is Ready, and no longer when it is not | `pods_become_endpoints_as_they_become_ready` |
//! | ports and selector of the pool can be edited; a new selector never empties the pool | `a_pool_can_be_edited_under_way` |
//! | pods of the former selector keep their ports until those of the new one are listed | `former_pods_are_not_announced_on_new_ports` |
//! | an API server that is away makes a replica old, never empty | `an_api_server_that_is_away_empties_no_pool` |
//! | a watch that expired, or was cut, goes on | `watches_that_expire_or_are_cut_go_on_and_are_no_outage` |
//! | a missing right or CRD is waited for | `a_missing_right_or_kind_is_waited_for` |
//! | a pool that is replaced at once costs nothing, one that is deleted is withdrawn | `a_deleted_pool_is_withdrawn_after_a_pause` |
//! | a wrong field is reported and changes nothing | `objects_with_wrong_fields_are_reported_and_change_nothing` |
//! | a CRD that is uninstalled hides no objects of the other group | `objectives_of_the_legacy_group_count_once_the_current_one_is_uninstalled` |
//! | priorities follow objectives of either group | `objectives_set_the_priority_of_requests` |
//! | models are rewritten: exact before generic, oldest first, headers before all | `rules_for_models_rewrite_requests_that_bear_no_header` |
//! | no request goes on without its rewrite, however early it comes | `no_request_goes_on_before_the_rules_are_known` |
//! | pods by label, without a pool | `pods_can_be_selected_without_a_pool` |
//! | lists of several pages | `a_thousand_pods_are_listed_in_pages` |
//! | conditions of objectives and rewrites are written once, without a leader | [`conditions`] |
//! | metrics are for callers that the API server allows to read them | [`scrapers`] |
//! | peers are found by their pods | `replicas_find_each_other_by_their_pods` |

mod conditions;
mod fixture;
mod scrapers;

use std::collections::BTreeSet;
use std::time::Duration;

use murmuration_actors::kubernetes::Source;
use serde_json::{Value, json};
use tokio::time::sleep;

use fixture::{CURRENT, Cluster, LEGACY, NAMESPACE, PODS, POOL, POOLS, REWRITES, Watching, eventually, pod, pool};

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| format!("{NAMESPACE}/{name}")).collect()
}

#[tokio::test]
async fn pods_become_endpoints_as_they_become_ready() {
    let cluster = Cluster::start().await;
    let mut replica = Watching::start(&cluster).await;
    assert!(!replica.is_ready(), "no pool yet");
    cluster.api.put(POOLS, POOL, pool("vllm", &[8000, 8001]));
    replica.ready().await;
    cluster.api.put(PODS, "a", pod("vllm", "127.0.0.1", true));
    cluster.api.put(PODS, "b", pod("vllm", "127.0.0.2", false));
    cluster.api.put(PODS, "other", pod("web", "127.0.0.3", true));
    replica.until(&names(&["a-rank-0", "a-rank-1"])).await;
    cluster.api.put(PODS, "b", pod("vllm", "127.0.0.2", true));
    replica.until(&names(&["a-rank-0", "a-rank-1", "b-rank-0", "b-rank-1"])).await;
    let mut annotated = pod("vllm", "127.0.0.2", true);
    annotated["metadata"]["annotations"] = json!({ "llm-d.ai/active-ports": "8001" });
    cluster.api.put(PODS, "b", annotated);
    replica.until(&names(&["a-rank-0", "a-rank-1", "b-rank-1"])).await;
    let mut deleting = pod("vllm", "127.0.0.1", true);
    deleting["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    cluster.api.put(PODS, "a", deleting);
    replica.until(&names(&["b-rank-1"])).await;
    cluster.api.put(PODS, "b", pod("web", "127.0.0.2", true));
    replica.until(&names(&[])).await;
    assert!(replica.is_ready(), "a pool without pods is one");
}

#[tokio::test]
async fn a_pool_can_be_edited_under_way() {
    let cluster = Cluster::with_pool().await;
    cluster.api.put(PODS, "new", pod("vllm-2", "127.0.0.9", true));
    let mut replica = Watching::start(&cluster).await;
    replica.ready().await;
    replica.until(&names(&["a-rank-0", "b-rank-0"])).await;
    cluster.api.put(POOLS, POOL, pool("vllm", &[9000, 8000]));
    replica.until(&names(&["a-rank-0", "a-rank-1", "b-rank-0", "b-rank-1"])).await;
    let look = replica.looks();
    cluster.api.put(POOLS, POOL, pool("vllm-2", &[9000]));
    replica.until(&names(&["new-rank-0"])).await;
    assert!(look.was_never_empty(), "the former pods stayed until the new ones were listed");
}

#[tokio::test]
async fn former_pods_are_not_announced_on_new_ports() {
    let cluster = Cluster::with_pool().await;
    cluster.api.put(PODS, "new", pod("vllm-2", "127.0.0.9", true));
    let mut replica = Watching::start(&cluster).await;
    replica.ready().await;
    replica.until(&names(&["a-rank-0", "b-rank-0"])).await;
    // Selector and ports change in one edit, and the pods of the new selector can't be listed yet.
    cluster.api.allow(PODS, false);
    cluster.api.put(POOLS, POOL, pool("vllm-2", &[9000, 9001]));
    replica.until_metric("murmuration_watch_interrupted{resource=\"pods\"} 1").await;
    assert_eq!(replica.addresses().await, ["127.0.0.1:8000", "127.0.0.2:8000"]);
    cluster.api.allow(PODS, true);
    replica.until(&names(&["new-rank-0", "new-rank-1"])).await;
    assert_eq!(replica.addresses().await, ["127.0.0.9:9000", "127.0.0.9:9001"]);
}

#[tokio::test]
async fn an_api_server_that_is_away_empties_no_pool() {
    let mut cluster = Cluster::with_pool().await;
    let mut replica = Watching::start(&cluster).await;
    replica.ready().await;
    replica.until(&names(&["a-rank-0", "b-rank-0"])).await;
    let look = replica.looks();
    cluster.api.goes_away().await;
    replica.until_metric("murmuration_watch_interrupted{resource=\"pods\"} 1").await;
    cluster.api.delete(PODS, "a");
    cluster.api.put(PODS, "c", pod("vllm", "127.0.0.3", true));
    cluster.api.forget_history();
    assert!(replica.is_ready());
    assert_eq!(replica.endpoints().await, names(&["a-rank-0", "b-rank-0"]));
    cluster.api.comes_back().await.unwrap();
    replica.until(&names(&["b-rank-0", "c-rank-0"])).await;
    replica.until_metric("murmuration_watch_interrupted{resource=\"pods\"} 0").await;
    assert!(look.was_never_empty());
    assert_eq!(replica.interruptions("pods"), 1, "an outage is told once");
}

#[tokio::test]
async fn watches_that_expire_or_are_cut_go_on_and_are_no_outage() {
    let mut cluster = Cluster::with_pool().await;
    let mut replica = Watching::start(&cluster).await;
    replica.ready().await;
    replica.until(&names(&["a-rank-0", "b-rank-0"])).await;
    let look = replica.looks();
    let lists = cluster.api.calls(PODS).0;
    cluster.api.forget_history();
    eventually(|| async { cluster.api.calls(PODS).0 > lists }).await;
    cluster.api.put(PODS, "c", pod("vllm", "127.0.0.3", true));
    replica.until(&names(&["a-rank-0", "b-rank-0", "c-rank-0"])).await;
    replica.until_metric("murmuration_watch_failures_total{reason=\"expired\",resource=\"pods\"} 1").await;
    cluster.api.cut().await.unwrap();
    cluster.api.delete(PODS, "c");
    replica.until(&names(&["a-rank-0", "b-rank-0"])).await;
    assert!(look.was_never_empty());
    assert_eq!(replica.interruptions("pods"), 0);
}

#[tokio::test]
async fn a_missing_right_or_kind_is_waited_for() {
    let cluster = Cluster::with_pool().await;
    cluster.api.allow(PODS, false);
    cluster.api.install(POOLS, false);
    let mut replica = Watching::start(&cluster).await;
    replica.until_metric("murmuration_watch_interrupted{resource=\"inferencepools\"} 1").await;
    assert!(replica.why("inferencepools").contains("CRD of inferencepools"), "{}", replica.why("inferencepools"));
    cluster.api.install(POOLS, true);
    replica.until_metric("murmuration_watch_interrupted{resource=\"pods\"} 1").await;
    assert!(replica.why("pods").contains("Role must allow get, list and watch of pods"), "{}", replica.why("pods"));
    assert!(!replica.is_ready());
    cluster.api.allow(PODS, true);
    replica.ready().await;
    replica.until(&names(&["a-rank-0", "b-rank-0"])).await;
}

#[tokio::test]
async fn a_deleted_pool_is_withdrawn_after_a_pause() {
    let cluster = Cluster::with_pool().await;
    let mut replica = Watching::start(&cluster).await;
    replica.ready().await;
    replica.until(&names(&["a-rank-0", "b-rank-0"])).await;
    let look = replica.looks();
    cluster.api.delete(POOLS, POOL);
    sleep(Duration::from_millis(300)).await;
    cluster.api.put(POOLS, POOL, pool("vllm", &[8000]));
    sleep(Duration::from_millis(300)).await;
    assert!(look.was_never_empty() && replica.is_ready(), "it was replaced at once");
    // A CRD that is gone says nothing about the pool.
    cluster.api.install(POOLS, false);
    cluster.api.forget_history();
    replica.until_metric("murmuration_watch_interrupted{resource=\"inferencepools\"} 1").await;
    assert_eq!(replica.endpoints().await, names(&["a-rank-0", "b-rank-0"]));
    cluster.api.install(POOLS, true);
    cluster.api.delete(POOLS, POOL);
    eventually(|| async { !replica.is_ready() }).await;
    replica.until(&names(&[])).await;
    cluster.api.put(POOLS, POOL, pool("vllm", &[8000]));
    replica.ready().await;
    replica.until(&names(&["a-rank-0", "b-rank-0"])).await;
}

#[tokio::test]
async fn objects_with_wrong_fields_are_reported_and_change_nothing() {
    let cluster = Cluster::with_pool().await;
    let mut replica = Watching::start(&cluster).await;
    replica.ready().await;
    cluster.api.put(POOLS, POOL, pool("vllm", &[0]));
    cluster.api.put(PODS, "c", pod("vllm", "somewhere", true));
    cluster.api.put(CURRENT, "urgent", json!({ "spec": { "priority": 1 } }));
    for object in ["InferencePool prod/llama", "Pod prod/c", "InferenceObjective prod/urgent"] {
        eventually(|| async { replica.refused(object) }).await;
    }
    assert!(replica.is_ready());
    replica.until(&names(&["a-rank-0", "b-rank-0"])).await;
    cluster.api.put(PODS, "c", pod("vllm", "127.0.0.3", true));
    replica.until(&names(&["a-rank-0", "b-rank-0", "c-rank-0"])).await;
}

fn objective(priority: Option<i32>, pool: &str) -> Value {
    json!({ "spec": { "priority": priority, "poolRef": { "name": pool, "group": "inference.networking.k8s.io" } } })
}

#[tokio::test]
async fn objectives_set_the_priority_of_requests() {
    let cluster = Cluster::with_pool().await;
    cluster.api.install(CURRENT, false);
    cluster.api.put(LEGACY, "urgent", objective(Some(7), POOL));
    let mut replica = Watching::start(&cluster).await;
    replica.ready().await;
    replica.until(&names(&["a-rank-0", "b-rank-0"])).await;
    assert_eq!(replica.priority("urgent").await, 7);
    assert_eq!(replica.priority("unknown").await, 0);
    cluster.api.put(LEGACY, "urgent", objective(Some(9), POOL));
    cluster.api.put(LEGACY, "foreign", objective(Some(5), "another"));
    eventually(|| async { replica.priority("urgent").await == 9 }).await;
    assert_eq!(replica.priority("foreign").await, 0, "it refers to another pool");
    cluster.api.put(LEGACY, "urgent", objective(None, POOL));
    eventually(|| async { replica.priority("urgent").await == 0 }).await;
}

#[tokio::test]
async fn objectives_of_the_legacy_group_count_once_the_current_one_is_uninstalled() {
    let cluster = Cluster::with_pool().await;
    cluster.api.put(CURRENT, "urgent", objective(Some(3), POOL));
    cluster.api.put(LEGACY, "urgent", objective(Some(7), POOL));
    let mut replica = Watching::start(&cluster).await;
    replica.ready().await;
    replica.until(&names(&["a-rank-0", "b-rank-0"])).await;
    eventually(|| async { replica.priority("urgent").await == 3 }).await;
    // One answer that the kind does not exist is what an API server that starts may say: it changes nothing.
    let lists = cluster.api.calls(CURRENT).0;
    cluster.api.install(CURRENT, false);
    cluster.api.forget_history();
    eventually(|| async { cluster.api.calls(CURRENT).0 > lists }).await;
    assert_eq!(replica.priority("urgent").await, 3);
    eventually(|| async { replica.priority("urgent").await == 7 }).await;
    cluster.api.install(CURRENT, true);
    eventually(|| async { replica.priority("urgent").await == 3 }).await;
}

#[tokio::test]
async fn no_request_goes_on_before_the_rules_are_known() {
    let cluster = Cluster::with_pool().await;
    let targets = json!([{ "modelRewrite": "tuned", "weight": 1 }]);
    let spec = json!({ "poolRef": { "name": POOL }, "rules": [{ "matches": [], "targets": targets }] });
    cluster.api.put(REWRITES, "all", json!({ "spec": spec }));
    // Requests from the moment that the socket takes them.
    for _ in 0..20 {
        let replica = Watching::start(&cluster).await;
        let target = loop {
            if let Some(target) = replica.target_if_sent(&[]).await {
                break target;
            }
        };
        assert_eq!(target, ("tuned".into(), Some("all".into())));
    }
}

#[tokio::test]
async fn rules_for_models_rewrite_requests_that_bear_no_header() {
    let cluster = Cluster::with_pool().await;
    let rule = |models: &[&str], target: &str, created: &str| {
        let exact = |model: &&str| json!({ "model": { "type": "Exact", "value": model } });
        let rule = json!({
            "matches": models.iter().map(exact).collect::<Vec<_>>(),
            "targets": [{ "modelRewrite": target, "weight": 1 }],
        });
        let spec = json!({ "poolRef": { "name": POOL }, "rules": [rule] });
        json!({ "metadata": { "creationTimestamp": created }, "spec": spec })
    };
    cluster.api.put(REWRITES, "young", rule(&["base"], "young", "2026-01-02T00:00:00Z"));
    cluster.api.put(REWRITES, "old", rule(&["base"], "old", "2026-01-01T00:00:00Z"));
    cluster.api.put(REWRITES, "generic", rule(&[], "any", "2020-01-01T00:00:00Z"));
    let mut replica = Watching::start(&cluster).await;
    replica.ready().await;
    replica.until(&names(&["a-rank-0", "b-rank-0"])).await;
    eventually(|| async { replica.target(&[]).await == ("old".into(), Some("old".into())) }).await;
    let header = ("x-llm-d-model-name-rewrite", "forced");
    assert_eq!(replica.target(&[header]).await, ("forced".into(), None), "a header wins");
    cluster.api.delete(REWRITES, "old");
    eventually(|| async { replica.target(&[]).await.0 == "young" }).await;
    cluster.api.delete(REWRITES, "young");
    eventually(|| async { replica.target(&[]).await.0 == "any" }).await;
    let line =
        "llm_d_epp_model_rewrite_decisions_total{model_name=\"base\",model_rewrite_name=\"old\",target_model=\"old\"}";
    assert!(replica.has_line(line), "{}", replica.page());
}

#[tokio::test]
async fn pods_can_be_selected_without_a_pool() {
    let cluster = Cluster::with_pool().await;
    let (namespace, selector) = (NAMESPACE.to_owned(), "app=vllm".to_owned());
    let source = Source::Selector { namespace, selector, ports: vec![9000, 9001] };
    let mut replica = Watching::of(&cluster, source).await;
    replica.ready().await;
    replica.until(&names(&["a-rank-0", "a-rank-1", "b-rank-0", "b-rank-1"])).await;
    assert_eq!(cluster.api.calls(POOLS), (0, 0));
}

#[tokio::test]
async fn a_thousand_pods_are_listed_in_pages() {
    let cluster = Cluster::with_pool().await;
    for number in 0..998 {
        let ip = format!("127.1.{}.{}", number / 200, number % 200 + 1);
        cluster.api.put(PODS, &format!("p{number:04}"), pod("vllm", &ip, true));
    }
    let mut replica = Watching::start(&cluster).await;
    replica.ready().await;
    eventually(|| async { replica.endpoints().await.len() == 1_000 }).await;
    assert_eq!(cluster.api.calls(PODS).0, 2, "pages of 500");
}

#[tokio::test]
async fn replicas_find_each_other_by_their_pods() {
    let cluster = Cluster::with_pool().await;
    let mut replicas = Watching::tier(&cluster, 3).await;
    for replica in &mut replicas {
        replica.ready().await;
        replica.until_peers(2).await;
    }
    // One leaves, and another one comes at another address.
    drop(replicas.pop());
    cluster.api.delete(PODS, "epp-2");
    replicas[0].until_peers(1).await;
    let late = Watching::joins(&cluster, &replicas[0], 3).await;
    late.until_peers(2).await;
    replicas[1].until_peers(2).await;
}
