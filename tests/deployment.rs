//! What operators install agrees with itself and with the binary: flags, metrics, pages, rules of access.
//!
//! Needs no tool. `tests/deploy` renders the chart and the overlays and holds their objects to schemas and properties.

#![allow(clippy::unwrap_used)]

#[path = "deployment/queries.rs"]
mod queries;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use murmuration_actors::args::PassedOverArgs;
use serde_json::Value;

/// Rules that a picker's account has: llm-d's, without those of a leader. `docs/kubernetes.md` has them as a table.
const RULES: [(&str, &str, &str); 6] = [
    ("", "pods", "get,list,watch"),
    ("inference.networking.k8s.io", "inferencepools", "get,list,watch"),
    ("inference.networking.x-k8s.io", "inferencemodelrewrites,inferenceobjectives", "get,list,watch"),
    ("llm-d.ai", "inferencemodelrewrites,inferenceobjectives", "get,list,watch"),
    ("inference.networking.x-k8s.io", "inferencemodelrewrites/status,inferenceobjectives/status", "patch"),
    ("llm-d.ai", "inferencemodelrewrites/status,inferenceobjectives/status", "patch"),
];

fn path(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(of)
}

fn text(of: &str) -> String {
    fs::read_to_string(path(of)).unwrap()
}

/// All documents of a YAML file.
fn documents(of: &Path) -> Vec<Value> {
    serde_saphyr::from_multiple(&fs::read_to_string(of).unwrap()).unwrap()
}

/// The files below `folder` with this extension.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.append(&mut files(&path, extension)),
            false if path.extension().is_some_and(|kind| kind == extension) => found.push(path),
            false => {}
        }
    }
    found.sort();
    found
}

fn stem(of: &Path) -> String {
    of.file_stem().unwrap().to_string_lossy().into_owned()
}

/// Every text in a value, at any depth.
fn texts(value: &Value, visit: &mut dyn FnMut(&str)) {
    match value {
        Value::String(text) => visit(text),
        Value::Array(all) => all.iter().for_each(|one| texts(one, visit)),
        Value::Object(fields) => fields.values().for_each(|one| texts(one, visit)),
        _ => {}
    }
}

/// The metrics of the reference page.
fn metrics() -> BTreeSet<String> {
    let page = text("docs/reference/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(name, _)| name.to_owned()).collect()
}

/// Queries of ours, with the place where each stands.
fn all_queries() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for rule in documents(&path("deploy/prometheus/alerts.yaml"))[0]["groups"][0]["rules"].as_array().unwrap() {
        found.push((rule["alert"].as_str().unwrap().to_owned(), rule["expr"].as_str().unwrap().to_owned()));
    }
    for file in files(&path("deploy/grafana"), "json") {
        let dashboard: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let place = format!("{}: {}", stem(&file), panel["title"]);
                found.push((place, target["expr"].as_str().unwrap().to_owned()));
            }
        }
    }
    let scaling = text("deploy/helm/murmuration/templates/autoscaling.yaml");
    for query in scaling.lines().filter_map(|line| line.trim().strip_prefix("query: ")) {
        found.push(("autoscaling.yaml".to_owned(), query.to_owned()));
    }
    found
}

#[test]
fn every_metric_in_alerts_dashboards_and_scaling_exists() {
    let known = metrics();
    let queries = all_queries();
    assert!(known.len() > 80 && queries.len() > 100, "{} metrics, {} queries", known.len(), queries.len());
    let mut used = BTreeSet::new();
    for (place, query) in &queries {
        for name in queries::metrics(query) {
            assert!(known.contains(&name), "{place}: no metric is called `{name}`");
            used.insert(name);
        }
    }
    assert!(used.len() > 50, "{used:?}");
}

#[test]
fn every_alert_has_a_page_and_every_page_an_alert() {
    let alerts = documents(&path("deploy/prometheus/alerts.yaml"));
    let rules = alerts[0]["groups"][0]["rules"].as_array().unwrap();
    let mut names = BTreeSet::new();
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        assert_eq!(rule["annotations"]["runbook"], format!("deploy/runbook/alerts/{name}.md"));
        assert!(["critical", "warning", "info"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
        let page = text(&format!("deploy/runbook/alerts/{name}.md"));
        for part in ["**What happened.**", "**What to look at.**", "**Cure.**"] {
            assert!(page.contains(part), "{name} lacks {part}");
        }
        names.insert(name.to_owned());
    }
    let mut pages: BTreeSet<String> =
        files(&path("deploy/runbook/alerts"), "md").iter().map(|page| stem(page)).collect();
    assert!(pages.remove("README"));
    assert_eq!(pages, names);
}

#[test]
fn the_chart_ships_the_alerts_and_dashboards_of_the_repository() {
    let ours = fs::read(path("deploy/prometheus/alerts.yaml")).unwrap();
    assert_eq!(fs::read(path("deploy/helm/murmuration/files/alerts.yaml")).unwrap(), ours);
    let dashboards = files(&path("deploy/helm/murmuration/files/dashboards"), "json");
    assert_eq!(dashboards.len(), files(&path("deploy/grafana"), "json").len());
    let readme = text("deploy/grafana/README.md");
    assert!(dashboards.len() >= 4 && dashboards.iter().all(|one| readme.contains(&format!("`{}.json`", stem(one)))));
}

/// The rules of all roles among these objects.
fn rules(objects: &[Value]) -> BTreeSet<(String, String, String)> {
    let list = |value: &Value| {
        let mut words: Vec<&str> = value.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        words.sort_unstable();
        words.join(",")
    };
    let mut found = BTreeSet::new();
    for role in objects.iter().filter(|one| one["kind"] == "Role" || one["kind"] == "ClusterRole") {
        for rule in role["rules"].as_array().unwrap() {
            for group in rule["apiGroups"].as_array().unwrap() {
                found.insert((group.as_str().unwrap().to_owned(), list(&rule["resources"]), list(&rule["verbs"])));
            }
        }
    }
    found
}

#[test]
fn a_picker_may_only_do_what_the_docs_list() {
    let expected: BTreeSet<_> =
        RULES.iter().map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned())).collect();
    assert_eq!(rules(&documents(&path("deploy/kustomize/base/rbac.yaml"))), expected);
    let page = text("docs/kubernetes.md");
    for (group, resources, verbs) in RULES {
        let group = if group.is_empty() { "core" } else { group };
        assert!(page.contains(&format!("| `{group}` | `{resources}` | `{verbs}` |")), "docs/kubernetes.md: {group}");
    }
    let template = text("deploy/helm/murmuration/templates/rbac.yaml");
    assert!(!template.contains("ClusterRole") && !template.contains("leases") && !template.contains("secrets"));
}

#[test]
fn nothing_that_is_installed_by_default_is_insecure() {
    let mut seen = 0;
    for file in files(&path("deploy/kustomize"), "yaml") {
        for object in documents(&file) {
            texts(&object, &mut |text| assert!(!text.contains("--insecure"), "{}: {text}", file.display()));
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen}");
    let values = documents(&path("deploy/helm/murmuration/values.yaml"));
    let flags = &values[0]["router"]["epp"]["flags"];
    assert!(flags.as_object().unwrap().is_empty(), "{flags}");
}

/// What the chart leaves out, a manifest of llm-d's may hand to the picker itself.
#[test]
fn flags_of_llm_d_that_the_chart_leaves_out_are_accepted_unless_that_weakens_security() {
    let template = text("deploy/helm/murmuration/templates/_flags.tpl");
    let (_, list) = template.split_once("define \"murmuration.passedOver\" -}}\n").unwrap();
    let left_out: BTreeSet<&str> = list.lines().map_while(|line| line.strip_prefix("- ")).collect();
    let is_refused = |flag: &&str| flag.starts_with("metrics-c") || flag.starts_with("tls-");
    let expected: BTreeSet<&str> = left_out.iter().copied().filter(|flag| !is_refused(flag)).collect();
    assert_eq!(PassedOverArgs::names().collect::<BTreeSet<_>>(), expected);
    assert_eq!(left_out.len() - expected.len(), 4);
}

#[test]
fn resources_and_files_of_every_kustomization_exist() {
    let mut seen = 0;
    for file in files(&path("deploy/kustomize"), "yaml").iter().filter(|file| stem(file) == "kustomization") {
        let folder = file.parent().unwrap();
        let own = &documents(file)[0];
        let generated = own["configMapGenerator"].as_array().into_iter().flatten().map(|one| &one["files"]);
        for list in [&own["resources"], &own["components"]].into_iter().chain(generated) {
            for entry in list.as_array().into_iter().flatten() {
                assert!(folder.join(entry.as_str().unwrap()).exists(), "{}: {entry}", file.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn the_charts_version_is_the_workspaces() {
    let chart = &documents(&path("deploy/helm/murmuration/Chart.yaml"))[0];
    assert_eq!(
        (&chart["version"], &chart["appVersion"]),
        (&env!("CARGO_PKG_VERSION").into(), &env!("CARGO_PKG_VERSION").into())
    );
    let image = format!("murmuration:{}", env!("CARGO_PKG_VERSION"));
    assert!(text("deploy/kustomize/base/deployment.yaml").contains(&image));
}

#[test]
fn every_value_of_the_chart_is_one_that_its_schema_knows() {
    let schema: Value = serde_json::from_str(&text("deploy/helm/murmuration/values.schema.json")).unwrap();
    let values = &documents(&path("deploy/helm/murmuration/values.yaml"))[0];
    fn check(value: &Value, schema: &Value, path: &str) {
        let (Value::Object(fields), Some(known)) = (value, schema["properties"].as_object()) else { return };
        for (name, field) in fields {
            let place = format!("{path}.{name}");
            match known.get(name) {
                Some(inner) => check(field, inner, &place),
                // What Kubernetes itself describes is open.
                None => assert!(schema["additionalProperties"] != false, "{place} is not in the schema"),
            }
        }
    }
    check(values, &schema, "values");
    assert!(schema["additionalProperties"] == false && values["murmuration"]["secrets"].is_object());
}
