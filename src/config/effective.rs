//! The effective configuration: the file with every default written out.
//!
//! Must not know defaults; it writes what it is given. Reading its output gives the same configuration.

use std::fmt::Write;

use serde_json::Value;

use super::declared::DeclaredPlugins;
use super::profiles::Plan;
use super::raw::{API_VERSION, KIND};
use super::sections::Sections;

/// The effective configuration as YAML.
pub(super) fn text(declared: &DeclaredPlugins<'_>, plan: &Plan, sections: &Sections) -> String {
    let mut out = Yaml { text: String::new() };
    out.line(0, "apiVersion", &scalar_text(API_VERSION));
    out.line(0, "kind", KIND);
    out.head(0, "plugins");
    for plugin in &declared.plugins {
        out.item(0, "name", &scalar_text(&plugin.name));
        out.line(1, "type", &scalar_text(&plugin.kind));
        if plugin.parameters.as_object().is_some_and(|fields| !fields.is_empty()) {
            out.head(1, "parameters");
            out.mapping(2, &plugin.parameters);
        }
    }
    out.head(0, "schedulingProfiles");
    for profile in &plan.profiles {
        out.item(0, "name", &scalar_text(&profile.name));
        out.head(1, "plugins");
        for (name, weight) in &profile.plugins {
            out.item(1, "pluginRef", &scalar_text(name));
            if let Some(weight) = weight {
                out.line(2, "weight", &scalar(&Value::from(*weight)));
            }
        }
    }
    out.head(0, "dataLayer");
    out.line(1, "injectDefaults", if sections.inject_defaults { "true" } else { "false" });
    out.head(1, "sources");
    out.item(1, "pluginRef", &scalar_text(&sections.source));
    out.head(2, "extractors");
    out.item(2, "pluginRef", &scalar_text(&sections.extractor));
    if let Some(discovery) = &sections.discovery {
        out.head(1, "discovery");
        out.line(2, "pluginRef", &scalar_text(discovery));
    }
    out.head(0, "flowControl");
    out.head(1, "saturationDetector");
    out.line(2, "pluginRef", &scalar_text(&sections.saturation));
    out.head(0, "requestHandler");
    out.head(1, "parsers");
    for parser in &sections.parsers {
        out.item(1, "pluginRef", &scalar_text(parser));
    }
    out.text
}

/// Writes YAML in block style; lists are not indented below their key.
struct Yaml {
    text: String,
}

/// Words that YAML parsers do not read as text.
const WORDS: [&str; 10] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"];

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => scalar_text(text),
        other => other.to_string(),
    }
}

/// A text scalar: unquoted where it is unambiguous, otherwise quoted as in JSON, which is valid YAML.
fn scalar_text(text: &str) -> String {
    let bare = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_./-".contains(&byte));
    let begins = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/');
    if bare && begins && !WORDS.iter().any(|word| word.eq_ignore_ascii_case(text)) {
        return text.to_owned();
    }
    Value::from(text).to_string()
}

fn is_nested(value: &Value) -> bool {
    match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => false,
    }
}

// === impl Yaml ===

impl Yaml {
    fn put(&mut self, indent: usize, text: std::fmt::Arguments<'_>) {
        // Writing to a string never fails.
        let _ = writeln!(self.text, "{:width$}{text}", "", width = 2 * indent);
    }

    fn head(&mut self, indent: usize, key: &str) {
        self.put(indent, format_args!("{key}:"));
    }

    fn line(&mut self, indent: usize, key: &str, value: &str) {
        self.put(indent, format_args!("{key}: {value}"));
    }

    /// The first line of a list item.
    fn item(&mut self, indent: usize, key: &str, value: &str) {
        self.put(indent, format_args!("- {key}: {value}"));
    }

    fn mapping(&mut self, indent: usize, value: &Value) {
        for (key, value) in value.as_object().into_iter().flatten() {
            let key = scalar_text(key);
            if !is_nested(value) {
                self.line(indent, &key, &scalar(value));
                continue;
            }
            self.head(indent, &key);
            match value {
                Value::Array(items) => items.iter().for_each(|item| self.element(indent, item)),
                other => self.mapping(indent + 1, other),
            }
        }
    }

    /// A list item: mappings in block style, everything else on one line, as JSON if it is nested.
    fn element(&mut self, indent: usize, item: &Value) {
        if !(item.is_object() && is_nested(item)) {
            let text = if is_nested(item) { item.to_string() } else { scalar(item) };
            return self.put(indent, format_args!("- {text}"));
        }
        let from = self.text.len();
        self.mapping(indent + 1, item);
        // The first line of the mapping follows the dash.
        let dash = from + 2 * indent;
        self.text.replace_range(dash..dash + 2, "- ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_only_where_it_is_ambiguous() {
        for text in ["queue-scorer", "llm-d.ai/v1alpha1", "/metrics", "a_b"] {
            assert_eq!(scalar_text(text), text);
        }
        for text in ["", "5", "true", "No", "a: b", "vllm:x", "a b", "~", "- a", "line\nline", "ö", ".5", "1s"] {
            assert!(scalar_text(text).starts_with('"'), "{text}");
        }
    }

    #[test]
    fn nested_values_are_written_in_block_style() {
        let value = serde_json::json!({
            "empty": {},
            "list": [1, "a b", {"key": "zone", "values": ["x", "y"]}],
            "map": {"a": true},
            "none": [],
        });
        let mut out = Yaml { text: String::new() };
        out.mapping(1, &value);
        let expected = "  empty: {}\n  list:\n  - 1\n  - \"a b\"\n  - key: zone\n    values:\n    - x\n    - \"y\"\n  map:\n    a: true\n  none: []\n";
        assert_eq!(out.text, expected);
    }
}
