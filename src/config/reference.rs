//! What a reference of the configuration lists: every plugin type with its defaults, and every field of a document.
//!
//! Must not know pages: `tests/reference.rs` writes them, with the descriptions that stand beside the code.

use serde_json::Value;

use super::declared::DeclaredPlugins;
use super::error::ErrorCollector;
use crate::plugin::registration::Produced;
use crate::plugin::{Catalog, unsupported};

/// A plugin type that a configuration may name.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginType {
    /// Its name, such as `queue-scorer`.
    pub name: &'static str,
    /// Its role, such as "a scorer".
    pub role: String,
    /// Its parameters with their defaults.
    pub defaults: Value,
    /// Parameters that have none: it is refused without them.
    pub required: &'static [&'static str],
    /// What it reads beside the engines' reports.
    pub reads: &'static [Produced],
}

/// A field of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocumentField {
    /// Its path; `[]` stands for an item of a list.
    pub path: &'static str,
    /// Whether a document, or the mapping around it, is refused without it.
    pub required: bool,
    /// What it does, with its default.
    pub does: &'static str,
}

const fn required(path: &'static str, does: &'static str) -> DocumentField {
    DocumentField { path, required: true, does }
}

const fn optional(path: &'static str, does: &'static str) -> DocumentField {
    DocumentField { path, required: false, does }
}

/// The fields of an `EndpointPickerConfig`.
pub const CONFIGURATION: &[DocumentField] = &[
    required("apiVersion", "`llm-d.ai/v1alpha1`. llm-d's former `inference.networking.x-k8s.io/v1alpha1` is read too."),
    required("kind", "`EndpointPickerConfig`."),
    optional(
        "featureGates[]",
        "Switches of llm-d, each `name`, `name=true` or `name=false`. `haPopulateNonLeaderDatastore` has no effect: \
         every replica serves and has its data. `flowControl` may only be false.",
    ),
    optional("plugins[]", "Plugins that other sections refer to. Types that are needed and not declared are added."),
    optional("plugins[].name", "The name that references use. Default: the type. No two plugins share a name."),
    required("plugins[].type", "The plugin's type, one of those below."),
    optional("plugins[].parameters", "The type's parameters. Those that are left out have their defaults."),
    optional(
        "schedulingProfiles[]",
        "How an endpoint is chosen: filters in their order, then all scorers, then one picker. Without it one \
         profile, `default`, has all declared plugins that fit into a profile.",
    ),
    required("schedulingProfiles[].name", "The profile's name, not empty and unique."),
    optional(
        "schedulingProfiles[].plugins[]",
        "What the profile consists of. Without a picker it gets a declared `max-score-picker`, else the first declared \
         picker, else a new `max-score-picker`.",
    ),
    required("schedulingProfiles[].plugins[].pluginRef", "The name of a declared filter, scorer or picker."),
    optional(
        "schedulingProfiles[].plugins[].weight",
        "What a scorer's score is multiplied by before scores are added up: a number. Default: 1.",
    ),
    optional("dataLayer", "Which endpoints there are, and how their load is read."),
    optional(
        "dataLayer.injectDefaults",
        "Whether a metrics source is added where none is named. Default: true. `false` needs one under `sources`.",
    ),
    optional("dataLayer.sources[]", "Where load comes from: one metrics source. Default: a `metrics-data-source`."),
    required("dataLayer.sources[].pluginRef", "The name of a data source."),
    optional("dataLayer.sources[].extractors[]", "What reads the source's pages: at least one extractor."),
    required("dataLayer.sources[].extractors[].pluginRef", "The name of an extractor."),
    optional("dataLayer.discovery", "Which endpoints the pool has. `murmuration serve` refuses to start without it."),
    required("dataLayer.discovery.pluginRef", "The name of a discovery."),
    optional("requestHandler.parsers[]", "Parsers of request bodies. Default: `openai-parser`, `passthrough-parser`."),
    required("requestHandler.parsers[].pluginRef", "The name of a parser."),
    optional("parser", "llm-d's former spelling of `requestHandler.parsers` with one item. The newer one counts."),
    required("parser.pluginRef", "The name of a parser."),
    optional(
        "flowControl.saturationDetector.pluginRef",
        "The detector that says when the pool is full. Default: a `utilization-detector`. Other fields of \
         `flowControl` are known to llm-d and not here yet.",
    ),
    optional(
        "saturationDetector.pluginRef",
        "llm-d's former spelling of `flowControl.saturationDetector.pluginRef`. The newer one counts.",
    ),
];

/// The fields of the endpoints file that `file-discovery` reads.
pub const ENDPOINTS_FILE: &[DocumentField] = &[
    required("endpoints[]", "The pool's endpoints. `endpoints: []` is a pool without any; an empty file is refused."),
    required("endpoints[].name", "The endpoint's name, unique in its namespace."),
    optional("endpoints[].namespace", "Its namespace. Default: `default`."),
    required("endpoints[].address", "An IPv4 or IPv6 address, or a host name, without a port."),
    required("endpoints[].port", "The engine's port, 1 to 65535, as text or as a number."),
    optional(
        "endpoints[].labels",
        "Labels for filters. `llm-d.ai/role` says which stage it serves, `llm-d.ai/engine-type` which engine it is.",
    ),
    optional("objectives[]", "Priorities of requests by objective. llm-d reads them from Kubernetes instead."),
    required("objectives[].name", "The objective, as the header `x-llm-d-inference-objective` names it."),
    required("objectives[].priority", "A whole number of 32 bits. Below 0 means refused while the pool is full."),
];

/// Every plugin type of `catalog`, and those that are settings, in alphabetical order.
pub fn plugin_types(catalog: &Catalog) -> Vec<PluginType> {
    let declared = DeclaredPlugins::new(catalog, &[], &mut ErrorCollector::default());
    let mut types: Vec<PluginType> = declared.types().filter_map(|name| plugin_type(name, &declared)).collect();
    types.sort_unstable_by_key(|plugin| plugin.name);
    types
}

fn plugin_type(name: &'static str, declared: &DeclaredPlugins<'_>) -> Option<PluginType> {
    if let Ok((made, defaults)) = declared.build(name, &Value::Null)? {
        return Some(PluginType { name, role: made.noun(), defaults, required: &[], reads: made.reads() });
    }
    // The one type that can't do without a parameter.
    let path = serde_json::json!({"path": "endpoints.yaml"});
    let (made, defaults) = declared.build(name, &path)?.ok()?;
    Some(PluginType { name, role: made.noun(), defaults, required: &["path"], reads: made.reads() })
}

/// llm-d's plugin types that are not here yet, in alphabetical order.
pub fn types_not_here_yet() -> Vec<&'static str> {
    let mut types: Vec<&str> = unsupported::types().collect();
    types.sort_unstable();
    types
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_role_and_is_listed_once() {
        let catalog = Catalog::builtin();
        let types = plugin_types(&catalog);
        let listed = types.len();
        assert_eq!(listed, catalog.types().count() + super::super::parts::TYPES.len());
        assert!(types.iter().all(|plugin| plugin.role != "broken"));
        let needy: Vec<&str> = types.iter().filter(|of| !of.required.is_empty()).map(|of| of.name).collect();
        assert_eq!(needy, ["file-discovery"], "all others can do without parameters");
    }
}
