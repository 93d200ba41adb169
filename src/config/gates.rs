//! `featureGates`: named switches.
//!
//! Must not know what a gate changes elsewhere.

use super::error::ErrorCollector;
use super::suggestion;
use super::walk::Field;

const FLOW_CONTROL: &str = "flowControl";
/// In llm-d it fills the data of replicas that are not the leader. Here every replica serves and has
/// its data, so the gate has no effect.
const POPULATE_NON_LEADER: &str = "haPopulateNonLeaderDatastore";
const KNOWN: [&str; 2] = [FLOW_CONTROL, POPULATE_NON_LEADER];

/// Reads "name", "name=true" and "name=false".
pub(super) fn read(list: &Field<'_>, errors: &mut ErrorCollector) {
    for item in list.list(errors) {
        let Some(text) = item.text(errors) else { continue };
        let (name, value) = text.split_once('=').unwrap_or((text, "true"));
        let on = match value.trim().to_ascii_lowercase().as_str() {
            "true" | "t" | "1" => true,
            "false" | "f" | "0" => false,
            _ => {
                item.report(errors, format!("a gate is `name`, `name=true` or `name=false`, got {text:?}"));
                continue;
            }
        };
        if !KNOWN.contains(&name) {
            let similar = suggestion::did_you_mean(name, KNOWN);
            let known = similar.unwrap_or_else(|| format!("known are {}", suggestion::listed(&KNOWN)));
            item.report(errors, format!("no feature gate is called `{name}`; {known}"));
        } else if name == FLOW_CONTROL && on {
            let message = "flow control is known to llm-d and not here yet; leave the gate out";
            errors.not_supported_yet(item.place(), &item.path, message);
        }
    }
}
