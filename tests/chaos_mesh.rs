//! Every plan that ships has its manifest for Chaos Mesh, and the two agree on what happens and for how long.
//!
//! What can't be said there is in `deploy/chaos-mesh/README.md`.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Which kinds of Chaos Mesh do a fault of ours; none where the load has to make it, or pods have to come and go.
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
/// Faults whose duration a manifest does not say: a killed pod comes back by its deployment, and a drained one by itself.
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

/// All kinds and durations of a manifest, however deep.
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
        let strikes = plan["faults"].as_array().unwrap();
        for strike in strikes {
            let fault = strike["fault"].as_str().unwrap();
            let Some((_, wanted)) = KINDS.iter().find(|(one, _)| *one == fault) else { continue };
            assert!(wanted.iter().all(|kind| kinds.contains(*kind)), "{name}: {fault} needs {wanted:?}, has {kinds:?}");
            if !wanted.is_empty() && !WITHOUT_DURATION.contains(&fault) {
                let lasting = strike["for"].as_str().unwrap();
                assert!(spans.contains(lasting), "{name}: {fault} lasts {lasting}, the manifest says {spans:?}");
            }
        }
    }
}
