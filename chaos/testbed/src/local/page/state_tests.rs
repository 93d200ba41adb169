//! A tier of two replicas, one of which is gone.

use murmuration_engine_sim::hand_off::Role;

use super::*;

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn spot(index: u16) -> ReplicaSpot {
    let base = 100 * (index + 1);
    ReplicaSpot {
        space: None,
        zone: String::new(),
        name: format!("replica-{index}"),
        ext_proc: at(base),
        health: at(base + 1),
        admin: at(base + 2),
        gossip: at(base + 3),
        peers: at(base + 4),
        pid: Some(1),
    }
}

fn watched() -> Watched {
    let engines = (0..2).map(|index| engine_spot(index, None));
    Watched { engines: engines.collect(), replicas: vec![spot(0), spot(1)], envoy: at(1), public: at(2) }
}

fn engine_spot(index: u16, role: Option<Role>) -> EngineSpot {
    let (name, address) = (format!("engine-{index}"), at(10 + index));
    EngineSpot::at(name, address, role, None)
}

fn endpoint(port: u16, waiting: u64, age_ms: u64, in_flight: u64) -> Value {
    json!({
        "endpoint": { "id": "testbed/engine", "address": at(port), "labels": {} },
        "report": { "waiting": waiting, "running": 1, "kv_usage": 0.25 },
        "age": { "secs": 0, "nanos": age_ms * 1_000_000 },
        "trust": "EXACT",
        "reachable": true,
        "in_flight": { "requests": in_flight, "prefill_tokens": 0 },
        "index_blocks": 5,
    })
}

fn pages(endpoints: Vec<Value>) -> ReplicaPages {
    let decision = json!({ "request_id": "r1", "endpoint": "testbed/engine-0", "matched_blocks": 1, "blocks": 2 });
    ReplicaPages {
        fleet: json!({ "endpoints": endpoints, "tickets": { "open": 3 }, "index_bytes": 4096 }),
        decisions: Value::Array(vec![decision; 20]),
        metrics: "llm_d_epp_extproc_streams_inflight 7\nllm_d_epp_scheduler_e2e_duration_seconds_count 40\n".to_owned(),
    }
}

#[test]
fn a_replica_that_does_not_answer_is_shown_without_figures() {
    let health = BTreeMap::from([(at(100), true), (at(200), false)]);
    let seen = picture(&watched(), &[Some(pages(vec![])), None], &health, &BTreeMap::new());
    let (alive, gone) = (&seen["replicas"][0], &seen["replicas"][1]);
    assert_eq!((&alive["answers"], &alive["healthy"]), (&json!(true), &json!(true)));
    assert_eq!((&alive["streams"], &alive["decisions"]), (&json!(7.0), &json!(40.0)));
    assert_eq!(alive["placed"], json!({ "testbed/engine-0": 20 }));
    assert_eq!((&gone["answers"], &gone["healthy"]), (&json!(false), &json!(false)));
    assert!(gone.get("streams").is_none());
}

#[test]
fn figures_that_are_not_there_are_null_and_not_zero() {
    let seen = picture(&watched(), &[Some(pages(vec![])), None], &BTreeMap::new(), &BTreeMap::new());
    assert_eq!(seen["replicas"][0]["promises_kept"], Value::Null);
    assert_eq!(seen["engines"][0]["waiting"], Value::Null);
    assert_eq!(seen["engines"][0]["requests"], Value::Null);
    assert_eq!(seen["engines"][0]["reachable"], json!(false));
}

#[test]
fn an_engine_is_shown_by_its_youngest_report_and_the_work_of_all_replicas() {
    let all = [
        Some(pages(vec![endpoint(10, 9, 400, 2), endpoint(11, 0, 1, 0)])),
        Some(pages(vec![endpoint(10, 4, 30, 5), endpoint(11, 0, 1, 0)])),
    ];
    let (health, requests) = (BTreeMap::from([(at(100), true)]), BTreeMap::from([(at(10), 12)]));
    let seen = picture(&watched(), &all, &health, &requests);
    let engine = &seen["engines"][0];
    assert_eq!((&engine["waiting"], &engine["age_ms"]), (&json!(4), &json!(30.0)));
    assert_eq!((&engine["in_flight"], &engine["requests"], &engine["known_to"]), (&json!(7), &json!(12), &json!(2)));
    assert_eq!(seen["engines"][1]["requests"], json!(0));
}

#[test]
fn the_last_decisions_of_each_replica_are_listed_with_its_name() {
    let all = [Some(pages(vec![])), Some(pages(vec![]))];
    let seen = picture(&watched(), &all, &BTreeMap::new(), &BTreeMap::new());
    let names: Vec<&str> =
        seen["decisions"].as_array().into_iter().flatten().filter_map(|one| one["replica"].as_str()).collect();
    assert_eq!(names.len(), 2 * DECISIONS_SHOWN);
    assert_eq!((names[0], names[DECISIONS_SHOWN]), ("replica-0", "replica-1"));
}

#[test]
fn engines_with_roles_are_shown_with_what_was_placed_on_them() {
    let mut pages = pages(vec![]);
    let legs = json!([
        { "stage": "decode", "endpoint": "testbed/engine-1" },
        { "stage": "prefill", "endpoint": "testbed/engine-0" },
    ]);
    pages.decisions = json!([{ "request_id": "r1", "endpoint": "testbed/engine-1", "legs": legs }]);
    let engines = vec![engine_spot(0, Some(Role::Prefill)), engine_spot(1, Some(Role::Decode))];
    let (watched, health) = (Watched { engines, ..watched() }, BTreeMap::from([(at(100), true)]));
    let seen = picture(&watched, &[Some(pages), None], &health, &BTreeMap::new());
    assert_eq!((&seen["engines"][0]["role"], &seen["engines"][1]["role"]), (&json!("prefill"), &json!("decode")));
    assert_eq!(seen["replicas"][0]["placed"], json!({ "testbed/engine-0": 1, "testbed/engine-1": 1 }));
    assert_eq!(seen["engines"][0]["requests"], Value::Null, "Envoy sends it nothing");
    assert_eq!(seen["engines"][1]["requests"], json!(0));
}
