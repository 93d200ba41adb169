//! An InferencePool (`inference.networking.k8s.io/v1`): which pods it selects, and on which ports they serve.
//!
//! Must not know what the pool is for.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::fields;

/// The group of InferencePools that have no other.
pub const GROUP: &str = "inference.networking.k8s.io";
/// The most ports that the pods of a pool serve on.
pub const PORTS_MAX: usize = 8;

/// What is read of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Selects its pods, in the syntax of label selectors.
    pub selector: String,
    /// The ports that each pod serves on, 1 to [`PORTS_MAX`] of them, all different.
    pub ports: Vec<u16>,
    /// The protocol of these ports, as the pool states it.
    pub app_protocol: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    selector: Selector,
    target_ports: Vec<Port>,
    app_protocol: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Selector {
    match_labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Port {
    number: i64,
}

/// Reads a pool.
///
/// # Errors
/// One sentence that names the field.
pub fn read(object: &Value) -> Result<Pool, String> {
    let Spec { selector, target_ports, app_protocol } = fields::spec(object)?;
    let ports = ports(target_ports.iter().map(|port| port.number)).map_err(|why| format!("`spec.targetPorts`: {why}"));
    Ok(Pool { selector: text(&selector.match_labels)?, ports: ports?, app_protocol })
}

/// Checks the ports of a pool's pods.
///
/// # Errors
/// One sentence.
pub fn ports(numbers: impl IntoIterator<Item = i64>) -> Result<Vec<u16>, String> {
    let mut ports = Vec::new();
    for number in numbers {
        let port = u16::try_from(number).ok().filter(|port| *port > 0);
        let port = port.ok_or_else(|| format!("{number} is no port; ports are 1 to 65535"))?;
        if ports.contains(&port) {
            return Err(format!("{port} is there twice"));
        }
        ports.push(port);
    }
    match ports.len() {
        1..=PORTS_MAX => Ok(ports),
        count => Err(format!("{count} ports; a pool has 1 to {PORTS_MAX}")),
    }
}

/// The labels as the text of a selector.
fn text(labels: &BTreeMap<String, String>) -> Result<String, String> {
    if labels.is_empty() {
        return Err("`spec.selector.matchLabels`: it is empty and would select every pod".to_owned());
    }
    let is_plain = |text: &str| text.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_./".contains(&c));
    let term = |(key, value): (&String, &String)| match is_plain(key) && is_plain(value) && !key.is_empty() {
        true => Ok(format!("{key}={value}")),
        false => Err(format!("`spec.selector.matchLabels`: {key:?}: {value:?} is no label")),
    };
    labels.iter().map(term).collect::<Result<Vec<_>, _>>().map(|terms| terms.join(","))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pool(change: impl FnOnce(&mut Value)) -> Result<Pool, String> {
        let spec = json!({
            "selector": { "matchLabels": { "app": "vllm", "tier": "a.b_c" } },
            "targetPorts": [{ "number": 8000 }, { "number": 8001 }],
            "appProtocol": "http",
            "endpointPickerRef": { "name": "epp", "port": { "number": 9002 } },
            "unknown": [1, 2],
        });
        let mut object = json!({ "spec": spec, "status": {} });
        change(&mut object);
        read(&object)
    }

    #[test]
    fn a_pool_is_read_and_unknown_fields_are_ignored() {
        let read = pool(|_| {}).unwrap();
        assert_eq!((read.selector.as_str(), read.ports.as_slice()), ("app=vllm,tier=a.b_c", [8000, 8001].as_slice()));
        assert_eq!(read.app_protocol.as_deref(), Some("http"));
        assert_eq!(pool(|pool| pool["spec"]["appProtocol"] = Value::Null).unwrap().app_protocol, None);
    }

    #[test]
    fn a_wrong_field_is_named() {
        type Case = (fn(&mut Value), &'static str);
        let cases: [Case; 8] = [
            (|pool| *pool = json!({}), "`spec` is missing"),
            (|pool| pool["spec"]["targetPorts"] = json!([]), "0 ports; a pool has 1 to 8"),
            (|pool| pool["spec"]["targetPorts"][1]["number"] = json!(8000), "8000 is there twice"),
            (|pool| pool["spec"]["targetPorts"][1]["number"] = json!(70_000), "70000 is no port"),
            (|pool| pool["spec"]["targetPorts"][1]["number"] = json!("x"), "spec.targetPorts[1].number"),
            (|pool| pool["spec"]["selector"]["matchLabels"] = json!({}), "select every pod"),
            (|pool| pool["spec"]["selector"]["matchLabels"]["a"] = json!("b,c=d"), "is no label"),
            (|pool| pool["spec"]["selector"] = json!("app=vllm"), "spec.selector"),
        ];
        for (change, names) in cases {
            let why = pool(change).unwrap_err();
            assert!(why.contains(names), "{why}");
        }
        assert!(ports((1..=9).collect::<Vec<_>>()).unwrap_err().contains("9 ports"));
    }
}
