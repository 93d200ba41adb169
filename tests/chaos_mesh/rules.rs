//! What the resource definitions and the admission webhook of Chaos Mesh refuse (v1alpha1, release 2.6 and later).
//!
//! Covers only the kinds and fields that our manifests use. Reports every problem with the path of the field. Must not
//! know which manifests there are.

use std::collections::BTreeSet;

use serde_json::Value;

const MODES: &[&str] = &["one", "all", "fixed", "fixed-percent", "random-max-percent"];
const SELECTORS: &[&str] = &[
    "namespaces",
    "labelSelectors",
    "expressionSelectors",
    "annotationSelectors",
    "fieldSelectors",
    "nodeSelectors",
    "nodes",
    "podPhaseSelectors",
    "pods",
];
/// Fields that every kind of fault has.
const COMMON: &[&str] = &["mode", "value", "selector", "duration", "remoteCluster"];
/// Actions of `NetworkChaos` that become rules of `tc`. Both ends must be named for the direction back.
const NETEM: &[&str] = &["netem", "delay", "loss", "duplicate", "corrupt", "bandwidth"];

/// The problems of a resource; empty when Chaos Mesh would accept it.
pub(crate) fn problems(resource: &Value) -> Vec<String> {
    let mut problems = Problems::default();
    if resource["apiVersion"] != "chaos-mesh.org/v1alpha1" {
        problems.add("apiVersion", "must be chaos-mesh.org/v1alpha1");
    }
    if resource["metadata"]["name"].as_str().is_none_or(str::is_empty) {
        problems.add("metadata.name", "is required");
    }
    let spec = &resource["spec"];
    match resource["kind"].as_str() {
        Some("Workflow") => workflow(spec, &mut problems),
        Some("Schedule") => schedule(spec, &mut problems),
        Some(kind) => fault(kind, spec, "spec", &mut problems),
        None => problems.add("kind", "is required"),
    }
    problems.0
}

#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, at: &str, what: &str) {
        self.0.push(format!("{at}: {what}"));
    }

    fn one_of(&mut self, value: &Value, of: &[&str], at: &str) {
        if !value.as_str().is_some_and(|value| of.contains(&value)) {
            self.add(at, &format!("must be one of {of:?}, not {value}"));
        }
    }

    /// Checks that there are no other fields. Kubernetes silently drops fields that it does not know.
    fn known(&mut self, value: &Value, of: &[&[&str]], at: &str) {
        let fields = value.as_object().into_iter().flat_map(|fields| fields.keys());
        for field in fields.filter(|field| !of.iter().any(|known| known.contains(&field.as_str()))) {
            self.add(&format!("{at}.{field}"), "is no field");
        }
    }

    fn span(&mut self, value: &Value, at: &str) {
        if !value.is_null() && !value.as_str().is_some_and(is_span) {
            self.add(at, &format!("must be a span such as 250ms, 8s or 2m, not {value}"));
        }
    }

    fn percent(&mut self, value: &Value, at: &str) {
        let percentage = value.as_str().and_then(|text| text.parse::<f32>().ok());
        if !percentage.is_some_and(|percentage| (0.0..=100.0).contains(&percentage)) {
            self.add(at, &format!("must be a percentage in quotes, not {value}"));
        }
    }
}

/// Whether Go reads this text as a span of time.
fn is_span(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let unit = ["ns", "us", "ms", "s", "m", "h"].iter().filter(|unit| rest[digits..].starts_with(**unit));
        let Some(unit) = unit.max_by_key(|unit| unit.len()).filter(|_| digits > 0) else { return false };
        rest = &rest[digits + unit.len()..];
    }
    !text.is_empty()
}

fn fault(kind: &str, spec: &Value, at: &str, problems: &mut Problems) {
    selects(spec, at, problems);
    problems.span(&spec["duration"], &format!("{at}.duration"));
    match kind {
        "PodChaos" => pod(spec, at, problems),
        "NetworkChaos" => network(spec, at, problems),
        "HTTPChaos" => http(spec, at, problems),
        "StressChaos" => stress(spec, at, problems),
        _ => problems.add(at, &format!("{kind} is a kind that this test does not know; add its rules")),
    }
}

fn selects(spec: &Value, at: &str, problems: &mut Problems) {
    problems.one_of(&spec["mode"], MODES, &format!("{at}.mode"));
    let number = spec["value"].as_str().and_then(|value| value.parse::<u32>().ok());
    let right = match spec["mode"].as_str() {
        Some("fixed") => number.is_some_and(|number| number > 0),
        Some("fixed-percent" | "random-max-percent") => number.is_some_and(|number| (1..=100).contains(&number)),
        _ => true,
    };
    if !right {
        problems.add(&format!("{at}.value"), "must be a whole number in quotes for this mode");
    }
    if spec["selector"].as_object().is_none_or(serde_json::Map::is_empty) {
        problems.add(&format!("{at}.selector"), "is required");
    }
    problems.known(&spec["selector"], &[SELECTORS], &format!("{at}.selector"));
}

fn pod(spec: &Value, at: &str, problems: &mut Problems) {
    problems.known(spec, &[COMMON, &["action", "containerNames", "gracePeriod"]], at);
    problems.one_of(&spec["action"], &["pod-kill", "pod-failure", "container-kill"], &format!("{at}.action"));
    let action = spec["action"].as_str().unwrap_or_default();
    if action == "container-kill" && spec["containerNames"].as_array().is_none_or(Vec::is_empty) {
        problems.add(&format!("{at}.containerNames"), "is required for container-kill");
    }
    if !spec["gracePeriod"].is_null() && (action != "pod-kill" || spec["gracePeriod"].as_u64().is_none()) {
        problems.add(&format!("{at}.gracePeriod"), "is a whole number of seconds, for pod-kill alone");
    }
}

fn network(spec: &Value, at: &str, problems: &mut Problems) {
    let own =
        ["action", "direction", "target", "externalTargets", "loss", "delay", "duplicate", "corrupt", "bandwidth"];
    problems.known(spec, &[COMMON, &own, &["device", "targetDevice"]], at);
    let action = spec["action"].as_str().unwrap_or_default();
    if action != "partition" {
        problems.one_of(&spec["action"], NETEM, &format!("{at}.action"));
    }
    if !spec["direction"].is_null() {
        problems.one_of(&spec["direction"], &["to", "from", "both"], &format!("{at}.direction"));
    }
    let back = matches!(spec["direction"].as_str(), Some("from" | "both"));
    if back && NETEM.contains(&action) && spec["target"].is_null() {
        problems.add(&format!("{at}.target"), &format!("is required for {action} with a direction other than `to`"));
    }
    if back && NETEM.contains(&action) && !spec["externalTargets"].is_null() {
        problems.add(&format!("{at}.externalTargets"), "can't be used with a direction other than `to`");
    }
    if !spec["target"].is_null() {
        selects(&spec["target"], &format!("{at}.target"), problems);
    }
    match action {
        "loss" | "duplicate" | "corrupt" => problems.percent(&spec[action][action], &format!("{at}.{action}.{action}")),
        "delay" => {
            let delay = &spec["delay"];
            problems.known(delay, &[&["latency", "jitter", "correlation", "reorder"]], &format!("{at}.delay"));
            if delay["latency"].is_null() {
                problems.add(&format!("{at}.delay.latency"), "is required");
            }
            problems.span(&delay["latency"], &format!("{at}.delay.latency"));
            problems.span(&delay["jitter"], &format!("{at}.delay.jitter"));
        }
        _ => {}
    }
}

fn http(spec: &Value, at: &str, problems: &mut Problems) {
    let rules = ["target", "port", "path", "method", "code", "request_headers", "response_headers"];
    let actions = ["abort", "delay", "replace", "patch"];
    problems.known(spec, &[COMMON, &rules, &actions], at);
    problems.one_of(&spec["target"], &["Request", "Response"], &format!("{at}.target"));
    if spec["port"].as_u64().is_none_or(|port| port == 0 || port > 65_535) {
        problems.add(&format!("{at}.port"), "must be a port");
    }
    if actions.iter().all(|action| spec[*action].is_null()) {
        problems.add(at, &format!("needs one of {actions:?}"));
    }
    let body = spec["replace"]["body"].as_str().unwrap_or_default();
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    if !body.len().is_multiple_of(4) || !body.chars().all(is_base64) {
        problems.add(&format!("{at}.replace.body"), "must be base64");
    }
}

fn stress(spec: &Value, at: &str, problems: &mut Problems) {
    problems.known(spec, &[COMMON, &["stressors", "stressngStressors", "containerNames"]], at);
    let stressors = spec["stressors"].as_object();
    if stressors.is_none_or(serde_json::Map::is_empty) && spec["stressngStressors"].is_null() {
        problems.add(&format!("{at}.stressors"), "needs at least one");
    }
    for (name, stressor) in stressors.into_iter().flatten() {
        if stressor["workers"].as_u64().is_none_or(|workers| !(1..=8_192).contains(&workers)) {
            problems.add(&format!("{at}.stressors.{name}.workers"), "must be 1 to 8192");
        }
    }
}

/// The field in which a kind's specification is embedded: `PodChaos` has `podChaos`.
fn field_of(kind: &str) -> String {
    match kind {
        "HTTPChaos" => "httpChaos".to_owned(),
        _ => kind[..1].to_lowercase() + &kind[1..],
    }
}

fn schedule(spec: &Value, problems: &mut Problems) {
    let Some(kind) = spec["type"].as_str() else { return problems.add("spec.type", "is required") };
    if spec["schedule"].as_str().is_none_or(str::is_empty) {
        problems.add("spec.schedule", "is required");
    }
    let field = field_of(kind);
    let own = ["schedule", "type", "concurrencyPolicy", "historyLimit", "startingDeadlineSeconds", &field];
    problems.known(spec, &[&own], "spec");
    if !spec["concurrencyPolicy"].is_null() {
        problems.one_of(&spec["concurrencyPolicy"], &["Forbid", "Allow"], "spec.concurrencyPolicy");
    }
    if !spec["historyLimit"].is_null() && spec["historyLimit"].as_u64().is_none_or(|limit| limit == 0) {
        problems.add("spec.historyLimit", "must be 1 or more");
    }
    fault(kind, &spec[&field], &format!("spec.{field}"), problems);
}

fn workflow(spec: &Value, problems: &mut Problems) {
    problems.known(spec, &[&["entry", "templates"]], "spec");
    let templates: Vec<&Value> = spec["templates"].as_array().into_iter().flatten().collect();
    let names: BTreeSet<&str> = templates.iter().filter_map(|template| template["name"].as_str()).collect();
    if names.len() != templates.len() {
        problems.add("spec.templates", "each needs a name of its own");
    }
    if !spec["entry"].as_str().is_some_and(|entry| names.contains(entry)) {
        problems.add("spec.entry", "names no template");
    }
    for template in templates {
        let at = format!("spec.templates[{}]", template["name"].as_str().unwrap_or_default());
        problems.span(&template["deadline"], &format!("{at}.deadline"));
        let children: Vec<&Value> = template["children"].as_array().into_iter().flatten().collect();
        for child in children.iter().filter(|child| !child.as_str().is_some_and(|child| names.contains(child))) {
            problems.add(&format!("{at}.children"), &format!("{child} is no template"));
        }
        match template["templateType"].as_str() {
            Some("Serial" | "Parallel") => {
                problems.known(template, &[&["name", "templateType", "deadline", "children"]], &at);
                if children.is_empty() {
                    problems.add(&format!("{at}.children"), "is required");
                }
            }
            Some(kind) => {
                let field = field_of(kind);
                problems.known(template, &[&["name", "templateType", "deadline", &field]], &at);
                if !template[&field]["duration"].is_null() {
                    problems.add(&format!("{at}.{field}.duration"), "is the template's deadline in a workflow");
                }
                fault(kind, &template[&field], &format!("{at}.{field}"), problems);
            }
            None => problems.add(&format!("{at}.templateType"), "is required"),
        }
    }
}
