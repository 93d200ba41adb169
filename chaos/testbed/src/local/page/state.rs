//! `/state.json`: what the replicas believe, what Envoy counts, and what was decided last.
//!
//! Must not know how it is drawn. A replica that does not answer in time is shown as gone, without figures.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use murmuration_actors::admin::client;
use murmuration_kit::metrics::sum;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Duration, timeout};

use super::Watched;
use crate::local::{EngineSpot, ReplicaSpot, envoy};

/// How long one replica may take; the page asks once a second.
const PATIENCE: Duration = Duration::from_millis(800);
/// Decisions of each replica that are listed.
const DECISIONS_SHOWN: usize = 8;

/// The pages of one replica.
#[derive(Debug, Default)]
struct ReplicaPages {
    fleet: Value,
    decisions: Value,
    metrics: String,
}

/// Reads all replicas and Envoy concurrently.
pub(super) async fn look(watched: &Watched) -> Value {
    let mut asking = JoinSet::new();
    for (index, replica) in watched.replicas.iter().enumerate() {
        let admin = replica.admin;
        asking.spawn(async move { (index, timeout(PATIENCE, ask(admin)).await.ok().flatten()) });
    }
    let (health, requests) =
        tokio::join!(async { timeout(PATIENCE, envoy::health(watched.envoy)).await.unwrap_or_default() }, async {
            timeout(PATIENCE, envoy::requests(watched.envoy)).await.unwrap_or_default()
        },);
    let mut pages: Vec<Option<ReplicaPages>> = watched.replicas.iter().map(|_| None).collect();
    while let Some(answer) = asking.join_next().await {
        if let Ok((index, answer)) = answer {
            pages[index] = answer;
        }
    }
    picture(watched, &pages, &health, &requests)
}

async fn ask(admin: SocketAddr) -> Option<ReplicaPages> {
    let page = |path: &'static str| async move {
        let (status, text) = client::fetch(admin, path).await.ok()?;
        status.is_success().then_some(text)
    };
    let (fleet, decisions, metrics) = tokio::join!(page("/debug/fleet"), page("/debug/decisions"), page("/metrics"));
    let parse = |text: String| serde_json::from_str(&text).ok();
    Some(ReplicaPages { fleet: parse(fleet?)?, decisions: parse(decisions?)?, metrics: metrics? })
}

fn picture(
    watched: &Watched,
    pages: &[Option<ReplicaPages>],
    health: &BTreeMap<SocketAddr, bool>,
    requests: &BTreeMap<SocketAddr, u64>,
) -> Value {
    let both = || watched.replicas.iter().zip(pages);
    let replicas = both().map(|(spot, pages)| replica(spot, pages.as_ref(), health.get(&spot.ext_proc).copied()));
    // Envoy has no counter for an address that it has not used yet.
    let unused = (!health.is_empty()).then_some(0);
    let engines = watched.engines.iter().map(|spot| {
        let unused = unused.filter(|_| spot.is_entrance());
        engine(spot, pages, requests.get(&spot.address).copied().or(unused))
    });
    let decisions = both().filter_map(|(spot, pages)| Some((spot, pages.as_ref()?.decisions.as_array()?)));
    let decisions = decisions.flat_map(|(spot, list)| {
        list.iter().take(DECISIONS_SHOWN).map(|one| {
            let mut one = one.clone();
            one["replica"] = json!(spot.name);
            one["admin"] = json!(spot.admin);
            one
        })
    });
    json!({
        "public": watched.public,
        "envoy": { "admin": watched.envoy, "answers": !health.is_empty() },
        "replicas": replicas.collect::<Vec<_>>(),
        "engines": engines.collect::<Vec<_>>(),
        "decisions": decisions.collect::<Vec<_>>(),
    })
}

fn replica(spot: &ReplicaSpot, pages: Option<&ReplicaPages>, healthy: Option<bool>) -> Value {
    let mut shown = json!({
        "name": spot.name,
        "admin": spot.admin,
        "ext_proc": spot.ext_proc,
        "healthy": healthy,
        "answers": pages.is_some(),
    });
    let Some(pages) = pages else { return shown };
    let figure = |family, label| sum(&pages.metrics, family, label);
    let mut placed: BTreeMap<&str, u32> = BTreeMap::new();
    for decision in pages.decisions.as_array().into_iter().flatten() {
        for endpoint in endpoints(decision) {
            *placed.entry(endpoint).or_default() += 1;
        }
    }
    let more = json!({
        "streams": figure("llm_d_epp_extproc_streams_inflight", ""),
        "decisions": figure("llm_d_epp_scheduler_e2e_duration_seconds_count", ""),
        "deciding_seconds": figure("llm_d_epp_scheduler_e2e_duration_seconds_sum", ""),
        "refusals": figure("murmuration_refusals_total", ""),
        "promises_kept": figure("murmuration_prefix_predictions_total", "result=\"kept\""),
        "promises_broken": figure("murmuration_prefix_predictions_total", "result=\"broken\""),
        "tickets_open": pages.fleet["tickets"]["open"],
        "index_bytes": pages.fleet["index_bytes"],
        "placed": placed,
    });
    if let (Value::Object(shown), Value::Object(more)) = (&mut shown, more) {
        shown.extend(more);
    }
    shown
}

/// The endpoints of all stages of a decision.
fn endpoints(decision: &Value) -> Vec<&str> {
    let legs = decision["legs"].as_array().into_iter().flatten();
    let of_legs: Vec<&str> = legs.filter_map(|leg| leg["endpoint"].as_str()).collect();
    if of_legs.is_empty() { decision["endpoint"].as_str().into_iter().collect() } else { of_legs }
}

/// An engine as the replica with its youngest report sees it; open work is the sum over replicas.
fn engine(spot: &EngineSpot, pages: &[Option<ReplicaPages>], requests: Option<u64>) -> Value {
    let address = json!(spot.address);
    let endpoints = pages.iter().flatten().filter_map(|pages| pages.fleet["endpoints"].as_array());
    let views: Vec<&Value> = endpoints.flatten().filter(|one| one["endpoint"]["address"] == address).collect();
    let youngest = views.iter().filter_map(|view| Some((age_ms(&view["age"])?, *view)));
    let youngest = youngest.min_by(|a, b| a.0.total_cmp(&b.0));
    let report = youngest.map_or(&Value::Null, |(_, view)| &view["report"]);
    let in_flight: u64 = views.iter().filter_map(|view| view["in_flight"]["requests"].as_u64()).sum();
    json!({
        "name": spot.name,
        "role": spot.role,
        "sidecar": spot.sidecar.as_ref().map(|sidecar| &sidecar.name),
        "address": spot.address,
        "engine": spot.engine,
        "reachable": views.iter().any(|view| view["reachable"] == true),
        "known_to": views.len(),
        "waiting": report["waiting"],
        "running": report["running"],
        "kv_usage": report["kv_usage"],
        "age_ms": youngest.map(|(age, _)| age),
        "trust": youngest.map(|(_, view)| &view["trust"]),
        "in_flight": in_flight,
        "requests": requests,
        "index_blocks": views.iter().filter_map(|view| view["index_blocks"].as_u64()).max(),
    })
}

/// Milliseconds of a `Duration` as serde writes it.
fn age_ms(age: &Value) -> Option<f64> {
    Some(age["secs"].as_f64()? * 1e3 + age["nanos"].as_f64()? / 1e6)
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
