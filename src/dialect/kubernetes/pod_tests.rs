//! A table of pods and of the endpoints that they are.

use serde_json::{Value, json};

use super::*;

const READY: &str = r#"{"phase":"Running","podIP":"10.0.0.7","conditions":[{"type":"Ready","status":"True"}]}"#;

fn pod_with(annotations: &[(&str, &str)], deleting: bool, status: &Value) -> Result<Pod, String> {
    let annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let labels = BTreeMap::from([("app".to_owned(), "vllm".to_owned())]);
    let (namespace, name) = ("prod".to_owned(), "vllm-0".to_owned());
    let metadata = PodMetadata { namespace, name, labels, annotations, deleting };
    Pod::new(metadata, &serde_json::from_value(status.clone()).unwrap())
}

fn endpoints(annotations: &[(&str, &str)], deleting: bool, status: &Value, ports: &[u16]) -> Vec<String> {
    let pod = pod_with(annotations, deleting, status).unwrap();
    pod.endpoints(ports).map(|endpoint| format!("{} {}", endpoint.id, endpoint.address)).collect()
}

fn ready() -> Value {
    serde_json::from_str(READY).unwrap()
}

#[test]
fn a_ready_pod_is_one_endpoint_for_each_port_of_the_pool() {
    assert_eq!(endpoints(&[], false, &ready(), &[8000]), ["prod/vllm-0-rank-0 10.0.0.7:8000"]);
    let two = endpoints(&[], false, &ready(), &[8000, 8001]);
    assert_eq!(two, ["prod/vllm-0-rank-0 10.0.0.7:8000", "prod/vllm-0-rank-1 10.0.0.7:8001"]);
    let pod = pod_with(&[], false, &ready()).unwrap();
    assert_eq!(pod.endpoints(&[1]).next().unwrap().labels["app"], "vllm");
}

#[test]
fn a_pod_that_does_not_serve_has_no_endpoint() {
    let with = |key: &str, value: Value| {
        let mut status = ready();
        status[key] = value;
        status
    };
    let condition = |kind: &str, status: &str| json!([{ "type": kind, "status": status }]);
    let cases = [
        ("not ready", with("conditions", condition("Ready", "False")), false),
        ("unknown", with("conditions", condition("Ready", "Unknown")), false),
        ("another condition", with("conditions", condition("ContainersReady", "True")), false),
        ("no conditions", with("conditions", Value::Null), false),
        ("no address yet", with("podIP", json!("")), false),
        ("no status yet", json!({}), false),
        ("being deleted", ready(), true),
    ];
    for (case, status, deleting) in cases {
        assert_eq!(endpoints(&[], deleting, &status, &[8000]), [""; 0], "{case}");
    }
}

#[test]
fn the_annotation_restricts_a_pod_to_some_ports_and_ranks_keep_their_numbers() {
    let current = "llm-d.ai/active-ports";
    let legacy = "inference.networking.k8s.io/active-ports";
    let ports = [8000, 8001, 8002];
    let ranks = |annotations: &[(&str, &str)]| {
        let endpoints = endpoints(annotations, false, &ready(), &ports);
        endpoints.iter().map(|one| one.split_once("-rank-").unwrap().1[..1].to_owned()).collect::<Vec<_>>().join("")
    };
    assert_eq!(ranks(&[]), "012");
    assert_eq!(ranks(&[(current, "8001")]), "1");
    assert_eq!(ranks(&[(current, " 8002, 8000 ")]), "02");
    assert_eq!(ranks(&[(legacy, "8000")]), "0");
    assert_eq!(ranks(&[(legacy, "8000"), (current, "8002")]), "2", "the current spelling wins");
    assert_eq!(ranks(&[(current, "9000,x,-1,0,99999")]), "", "no port of the pool");
    assert_eq!(ranks(&[(current, "")]), "");
    assert_eq!(ranks(&[(current, "8000/tcp")]), "0", "as llm-d reads it");
}

#[test]
fn addresses_of_both_families_are_read_and_others_reported() {
    let at = |ip: &str| {
        let mut status = ready();
        status["podIP"] = json!(ip);
        status
    };
    assert_eq!(endpoints(&[], false, &at("fd00::7"), &[80]), ["prod/vllm-0-rank-0 [fd00::7]:80"]);
    assert_eq!(endpoints(&[], false, &at("::ffff:10.0.0.1"), &[80]), ["prod/vllm-0-rank-0 10.0.0.1:80"]);
    assert!(pod_with(&[], false, &at("10.0.0")).unwrap_err().contains("status.podIP"));
}

#[test]
fn a_pod_can_be_reached_before_it_is_ready_and_until_it_ends() {
    let status = |phase: &str| json!({ "phase": phase, "podIP": "10.0.0.7" });
    let reached = |status: &Value, deleting| pod_with(&[], deleting, status).unwrap().reached_at().is_some();
    assert!(reached(&status("Running"), false) && reached(&status("Pending"), false));
    assert!(!reached(&status("Running"), true));
    assert!(!reached(&status("Failed"), false) && !reached(&status("Succeeded"), false));
    assert!(!reached(&json!({ "phase": "Pending" }), false), "it has no address yet");
}
