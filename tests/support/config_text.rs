//! The configurations of a test's replica, each with endpoints from a file.

use std::path::Path;

/// Endpoints in the order of their names, the first `destinations` of them.
pub(super) fn in_order(endpoints: &Path, destinations: usize) -> String {
    format!(
        "apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: in-order-picker
  parameters: {{maxNumOfEndpoints: {destinations}}}
- type: prefix-cache-scorer
{}dataLayer:
  discovery: {{pluginRef: file-discovery}}
schedulingProfiles:
- name: default
  plugins: [{{pluginRef: in-order-picker}}, {{pluginRef: prefix-cache-scorer}}]
",
        discovery(endpoints)
    )
}

/// The default configuration.
pub(super) fn scoring(endpoints: &Path, sessions: bool) -> String {
    let text = murmuration::config::default_text();
    let text = text.replacen("plugins:\n", &format!("plugins:\n{}", discovery(endpoints)), 1);
    let text = text.replace("dataLayer:\n", "dataLayer:\n  discovery: {pluginRef: file-discovery}\n");
    if !sessions {
        return text;
    }
    let affinity = "plugins:\n- type: session-affinity-filter\n  parameters: {strategy: session_id}\n";
    let text = text.replacen("plugins:\n", affinity, 1);
    text.replace("  plugins:\n", "  plugins:\n  - pluginRef: session-affinity-filter\n")
}

/// The sample for prefill and decode.
pub(super) fn pairs(endpoints: &Path) -> String {
    let text = include_str!("../../deploy/config/prefill-decode.yaml");
    let text = text.replacen("plugins:\n", &format!("plugins:\n{}", discovery(endpoints)), 1);
    format!("{text}dataLayer:\n  discovery: {{pluginRef: file-discovery}}\n")
}

fn discovery(endpoints: &Path) -> String {
    let path = endpoints.display().to_string();
    format!("- type: file-discovery\n  parameters: {{path: {path:?}, watchFile: true}}\n")
}
