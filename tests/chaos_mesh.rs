//! Every shipped plan has a manifest for Chaos Mesh, and the two agree on the faults and their durations.
//!
//! `deploy/chaos-mesh/README.md` lists what a manifest can't express. `chaos_mesh/rules.rs` has what Chaos Mesh
//! refuses.

#![allow(clippy::unwrap_used)]

#[path = "chaos_mesh/rules.rs"]
mod rules;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The kinds of Chaos Mesh that inject a fault of ours; none where the load makes it, or pods are added and deleted.
const KINDS: [(&str, &[&str]); 13] = [
    ("kill", &["PodChaos"]),
    ("drain", &["PodChaos"]),
    ("freeze", &["NetworkChaos"]),
    ("cut", &["NetworkChaos"]),
    ("loss", &["NetworkChaos"]),
    ("delay", &["NetworkChaos"]),
    ("engine-kill", &["PodChaos"]),
    ("engine-slow", &["StressChaos"]),
    ("engine-page", &["HTTPChaos"]),
    ("discovery", &[]),
    ("burst", &[]),
    ("hot-prefix", &[]),
    ("vanish", &[]),
];
/// Faults whose manifest has no duration: its deployment restarts a killed pod, and a drained one restarts by itself.
const WITHOUT_DURATION: [&str; 2] = ["drain", "kill"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn yaml(path: &Path) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn names(folder: &str) -> BTreeSet<String> {
    let files = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let plans = files.filter(|path| path.extension().is_some_and(|kind| kind == "yaml"));
    plans.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

/// Collects all kinds and durations of a manifest, at any depth.
fn collect(value: &Value, kinds: &mut BTreeSet<String>, spans: &mut BTreeSet<String>) {
    if let Value::Object(fields) = value {
        for (name, field) in fields {
            match (name.as_str(), field.as_str()) {
                ("kind" | "templateType" | "type", Some(kind)) => drop(kinds.insert(kind.to_owned())),
                ("deadline" | "duration", Some(span)) => drop(spans.insert(span.to_owned())),
                _ => {}
            }
        }
    }
    match value {
        Value::Object(fields) => fields.values().for_each(|one| collect(one, kinds, spans)),
        Value::Array(all) => all.iter().for_each(|one| collect(one, kinds, spans)),
        _ => {}
    }
}

#[test]
fn every_shipped_plan_has_its_manifest_and_a_row_in_the_table() {
    let plans = names("chaos/plans");
    assert_eq!(plans, names("deploy/chaos-mesh"));
    assert!(plans.len() >= 8, "{plans:?}");
    let table = fs::read_to_string(root().join("deploy/chaos-mesh/README.md")).unwrap();
    for plan in plans {
        assert!(table.contains(&format!("| `{plan}` |")), "{plan} has no row");
    }
}

#[test]
fn a_manifest_has_the_kinds_and_durations_of_its_plan() {
    for name in names("chaos/plans") {
        let plan = yaml(&root().join(format!("chaos/plans/{name}.yaml")));
        let manifest = yaml(&root().join(format!("deploy/chaos-mesh/{name}.yaml")));
        assert_eq!(
            (&plan["name"], &manifest["metadata"]["name"]),
            (&Value::from(name.clone()), &Value::from(name.clone()))
        );
        let (mut kinds, mut spans) = (BTreeSet::new(), BTreeSet::new());
        collect(&manifest, &mut kinds, &mut spans);
        let faults = plan["faults"].as_array().unwrap();
        for planned in faults {
            let fault = planned["fault"].as_str().unwrap();
            let Some((_, wanted)) = KINDS.iter().find(|(one, _)| *one == fault) else { continue };
            assert!(wanted.iter().all(|kind| kinds.contains(*kind)), "{name}: {fault} needs {wanted:?}, has {kinds:?}");
            if !wanted.is_empty() && !WITHOUT_DURATION.contains(&fault) {
                let duration = planned["for"].as_str().unwrap();
                assert!(spans.contains(duration), "{name}: {fault} lasts {duration}, the manifest says {spans:?}");
            }
        }
    }
}

#[test]
fn chaos_mesh_accepts_every_manifest() {
    for name in names("deploy/chaos-mesh") {
        let manifest = yaml(&root().join(format!("deploy/chaos-mesh/{name}.yaml")));
        assert_eq!(rules::problems(&manifest), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn no_manifest_uses_pod_failure_as_a_kill() {
    for name in names("deploy/chaos-mesh") {
        let text = fs::read_to_string(root().join(format!("deploy/chaos-mesh/{name}.yaml"))).unwrap();
        // pod-failure swaps the container's image: the process is asked to end, may drain, and stays away as long.
        assert!(!text.contains("pod-failure"), "{name}: pod-failure sends no SIGKILL; use container-kill");
    }
}

/// A manifest of one fault with these fields of its specification. Mode and selector have defaults.
fn fault(kind: &str, fields: &str) -> Value {
    let mut spec: Value = serde_saphyr::from_str(&format!("{{ {fields} }}")).unwrap();
    let own = spec.as_object_mut().unwrap();
    own.entry("mode").or_insert("one".into());
    own.entry("selector").or_insert(serde_json::json!({ "namespaces": ["n"] }));
    serde_json::json!({ "apiVersion": "chaos-mesh.org/v1alpha1", "kind": kind, "metadata": { "name": "n" }, "spec": spec })
}

#[test]
fn what_chaos_mesh_refuses_is_reported_with_its_path() {
    for (kind, fields, expected) in [
        ("NetworkChaos", "action: loss, direction: both, loss: { loss: '100' }", "spec.target: is required for loss"),
        ("NetworkChaos", "action: delay, direction: to, delay: { jitter: 1ms }", "spec.delay.latency: is required"),
        ("NetworkChaos", "action: loss, loss: { loss: 5 }", "spec.loss.loss: must be a percentage in quotes, not 5"),
        ("NetworkChaos", "action: drop", "spec.action: must be one of"),
        ("NetworkChaos", "action: partition, duration: 10 s", "spec.duration: must be a span"),
        ("PodChaos", "action: container-kill", "spec.containerNames: is required"),
        ("PodChaos", "action: pod-kill, mode: fixed", "spec.value: must be a whole number in quotes"),
        (
            "PodChaos",
            "action: pod-kill, selector: { nodeSelector: { a: b } }",
            "spec.selector.nodeSelector: is no field",
        ),
        ("PodChaos", "action: container-kill, containerNames: [c], gracePeriod: 1", "spec.gracePeriod: is a whole"),
        ("HTTPChaos", "target: Response, port: 8000", "spec: needs one of"),
        (
            "HTTPChaos",
            "target: Response, port: 8000, replace: { body: half a line }",
            "spec.replace.body: must be base64",
        ),
        ("StressChaos", "stressors: { cpu: { load: 100 } }", "spec.stressors.cpu.workers: must be 1 to 8192"),
        ("IOChaos", "volumePath: /", "is a kind that this test does not know"),
    ] {
        let problems = rules::problems(&fault(kind, fields));
        assert!(problems.len() == 1 && problems[0].contains(expected), "{kind} {fields}: {problems:?}");
    }
}
