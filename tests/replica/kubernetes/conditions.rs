//! Conditions of objectives and model rewrites: written once, by whichever replica owns the object.

use std::time::Duration;

use murmuration::event::Event;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::fixture::{CURRENT, Cluster, LEGACY, POOL, REWRITES, Watching, eventually};
use super::objective;

const STATUS: &str = "/apis/llm-d.ai/v1alpha2/namespaces/prod/inferenceobjectives/status";

/// Status, reason and generation of the condition Accepted.
fn accepted(cluster: &Cluster, path: &str, name: &str) -> Option<(String, String, i64)> {
    let object = cluster.api.object(path, name)?;
    let conditions = object["status"]["conditions"].as_array()?;
    let one = conditions.iter().find(|one| one["type"] == "Accepted")?;
    let text = |field: &str| one[field].as_str().unwrap().to_owned();
    Some((text("status"), text("reason"), one["observedGeneration"].as_i64().unwrap()))
}

fn names() -> Vec<String> {
    (0..12).map(|number| format!("objective-{number}")).collect()
}

async fn until_accepted(cluster: &Cluster, generation: i64) {
    let wanted = Some(("True".to_owned(), "Accepted".to_owned(), generation));
    eventually(|| async { names().iter().all(|name| accepted(cluster, CURRENT, name) == wanted) }).await;
}

#[tokio::test]
async fn three_replicas_write_each_condition_once_and_take_over_from_one_that_is_lost() {
    let cluster = Cluster::with_pool().await;
    let mut replicas = Watching::tier(&cluster, 3).await;
    for replica in &mut replicas {
        replica.ready().await;
        replica.until_peers(2).await;
    }
    for name in names() {
        cluster.api.put(CURRENT, &name, objective(Some(1), POOL));
    }
    until_accepted(&cluster, 1).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(cluster.api.written(CURRENT), names().len(), "once each");
    let writers = replicas.iter().filter(|replica| replica.wrote_conditions() > 0).count();
    assert!(writers > 1, "the work is shared");
    // One is lost, and all objects change.
    drop(replicas.pop());
    replicas[0].until_peers(1).await;
    for name in names() {
        cluster.api.put(CURRENT, &name, objective(Some(2), POOL));
    }
    until_accepted(&cluster, 2).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(cluster.api.written(CURRENT), 2 * names().len(), "once more each");
    // A replica that comes finds all of it said.
    drop(replicas);
    let mut late = Watching::start(&cluster).await;
    late.ready().await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(cluster.api.written(CURRENT), 2 * names().len());
}

#[tokio::test]
async fn a_condition_says_what_becomes_of_the_object() {
    let cluster = Cluster::with_pool().await;
    cluster.api.put(CURRENT, "good", objective(Some(1), POOL));
    cluster.api.put(CURRENT, "bad", objective(None, POOL));
    let mut bad = objective(None, POOL);
    bad["spec"]["priority"] = json!("high");
    cluster.api.put(CURRENT, "bad", bad);
    cluster.api.put(CURRENT, "foreign", objective(Some(1), "another"));
    cluster.api.put(LEGACY, "old", objective(Some(1), POOL));
    let rule = json!({ "targets": [{ "modelRewrite": "tuned" }] });
    cluster.api.put(REWRITES, "rule", json!({ "spec": { "poolRef": { "name": POOL }, "rules": [rule] } }));
    // Conditions of others stay.
    let mut foreign: Value = objective(Some(1), POOL);
    foreign["status"] = json!({ "conditions": [{ "type": "Ready", "status": "Unknown", "reason": "Pending" }] });
    cluster.api.put(CURRENT, "pending", foreign);
    let replica = Watching::start(&cluster).await;
    let says = |path: &'static str, name: &'static str, status: &str, reason: &str, generation: i64| {
        let (wanted, cluster) = (Some((status.to_owned(), reason.to_owned(), generation)), &cluster);
        async move { eventually(|| async { accepted(cluster, path, name) == wanted }).await }
    };
    says(CURRENT, "good", "True", "Accepted", 1).await;
    says(CURRENT, "bad", "False", "Invalid", 2).await;
    says(CURRENT, "pending", "True", "Accepted", 1).await;
    says(LEGACY, "old", "False", "Superseded", 1).await;
    says(REWRITES, "rule", "True", "Accepted", 1).await;
    assert_eq!(accepted(&cluster, CURRENT, "foreign"), None);
    let pending = cluster.api.object(CURRENT, "pending").unwrap();
    assert_eq!(pending["status"]["conditions"].as_array().unwrap().len(), 2);
    drop(replica);
}

#[tokio::test]
async fn a_right_that_is_missing_is_told_once_and_is_no_failure() {
    let cluster = Cluster::with_pool().await;
    cluster.api.allow(STATUS, false);
    cluster.api.put(CURRENT, "a", objective(Some(1), POOL));
    cluster.api.put(CURRENT, "b", objective(Some(4), POOL));
    let mut replica = Watching::start(&cluster).await;
    replica.ready().await;
    let denied = || {
        let is = |event: &Event| match event {
            Event::StatusDenied { why, .. } => Some(why.clone()),
            _ => None,
        };
        replica.events().iter().filter_map(is).collect::<Vec<_>>()
    };
    eventually(|| async { !denied().is_empty() }).await;
    assert!(denied()[0].contains("its Role must allow patch of inferenceobjectives/status"), "{:?}", denied());
    cluster.api.put(CURRENT, "c", objective(Some(5), POOL));
    eventually(|| async { replica.priority("c").await == 5 }).await;
    let line = "murmuration_status_writes_total{outcome=\"denied\",resource=\"inferenceobjectives.llm-d.ai\"} 2";
    replica.until_metric(line).await;
    assert_eq!(denied().len(), 1, "told once");
    assert!(replica.is_ready());
    cluster.api.allow(STATUS, true);
    eventually(|| async { cluster.api.written(CURRENT) == 3 }).await;
}
