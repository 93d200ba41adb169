//! What the replicas read: an EndpointPickerConfig whose endpoints are the testbed's engines, and the list of those.
//!
//! Must not know processes. A user's configuration is read by the replicas' own reader first, so its errors name the
//! lines that the user wrote.

use std::path::Path;

use murmuration::config;
use murmuration::plugin::Catalog;
use serde_json::{Value, json};

use super::TestbedError;

/// The plugin that names the endpoints; a user's configuration may call it by another name.
const DISCOVERY: &str = "file-discovery";

/// `text`, or the default configuration if there is none, with its discovery replaced by the endpoints file at
/// `endpoints`. `file` is used in errors only. The result is JSON, which the reader takes as YAML.
///
/// # Errors
/// [`TestbedError::Config`] with all errors of the text; [`TestbedError::Rewrite`].
pub(super) fn with_endpoints(text: Option<&str>, file: &str, endpoints: &Path) -> Result<String, TestbedError> {
    let text = text.unwrap_or(config::default_text());
    let text = if text.trim().is_empty() { config::default_text() } else { text };
    config::read(text, file, &Catalog::builtin())?;
    let fail = |why: String| TestbedError::Rewrite { file: file.to_owned(), why };
    let mut document: Value = serde_saphyr::from_str(text).map_err(|why| fail(why.to_string()))?;
    let plugins = field(&mut document, "plugins", json!([])).as_array_mut();
    let plugins = plugins.ok_or_else(|| fail("`plugins` is no list".to_owned()))?;
    plugins.retain(|plugin| plugin["type"] != DISCOVERY);
    let path = endpoints.display().to_string();
    plugins.push(json!({ "type": DISCOVERY, "name": DISCOVERY, "parameters": { "path": path, "watchFile": true } }));
    let data_layer = field(&mut document, "dataLayer", json!({}));
    *field(data_layer, "discovery", Value::Null) = json!({ "pluginRef": DISCOVERY });
    Ok(format!("{document:#}\n"))
}

/// The endpoints file of `file-discovery`. Each engine is a name, a host without brackets, and a port.
pub(super) fn endpoints_file<'a>(engines: impl IntoIterator<Item = (&'a str, String, u16)>) -> String {
    let engines = engines.into_iter();
    let endpoints = engines.map(
        |(name, host, port)| json!({ "name": name, "namespace": "testbed", "address": host, "port": port.to_string() }),
    );
    format!("{:#}\n", json!({ "endpoints": endpoints.collect::<Vec<_>>() }))
}

/// The value at `key` of an object, inserted if it is missing or null.
fn field<'a>(object: &'a mut Value, key: &str, default: Value) -> &'a mut Value {
    if !object.is_object() {
        *object = json!({});
    }
    let value = &mut object[key];
    if value.is_null() {
        *value = default;
    }
    value
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use murmuration::config::endpoints_file as reader;

    use super::*;

    fn blueprint(text: &str) -> config::blueprint::Blueprint {
        config::read(text, "made", &Catalog::builtin()).unwrap()
    }

    #[test]
    fn the_default_configuration_finds_the_testbeds_engines() {
        let made = with_endpoints(None, "the default", Path::new("/run/endpoints.json")).unwrap();
        let blueprint = blueprint(&made);
        let discovery = blueprint.discovery.unwrap();
        assert_eq!((discovery.path.as_str(), discovery.watch), ("/run/endpoints.json", true));
        for scorer in ["queue-scorer", "kv-cache-utilization-scorer", "prefix-cache-scorer"] {
            assert!(blueprint.effective.contains(scorer), "{}", blueprint.effective);
        }
    }

    #[test]
    fn endpoints_that_a_configuration_names_are_replaced() {
        let text = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- type: queue-scorer\n\
                    - type: file-discovery\n  name: mine\n  parameters: {path: /etc/pool.yaml}\n\
                    dataLayer:\n  discovery: {pluginRef: mine}\n";
        let made = with_endpoints(Some(text), "mine.yaml", Path::new("/run/endpoints.json")).unwrap();
        assert!(!made.contains("pool.yaml"), "{made}");
        assert_eq!(blueprint(&made).discovery.unwrap().path, "/run/endpoints.json");
    }

    #[test]
    fn an_error_names_the_configuration_and_its_line() {
        let text = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- type: queue-scorr\n";
        let message = with_endpoints(Some(text), "mine.yaml", Path::new("/run/e")).unwrap_err().to_string();
        assert!(message.contains("mine.yaml:4") && message.contains("queue-scorer"), "{message}");
    }

    #[test]
    fn the_list_of_engines_is_read_as_it_was_written() {
        let engines = [("engine-0", "127.0.0.1".to_owned(), 8000), ("engine-1", "::1".to_owned(), 8001)];
        let read = reader::read(&endpoints_file(engines), "endpoints.json").unwrap();
        let found: Vec<_> = read.endpoints.iter().map(|one| (one.name.as_str(), one.host.as_str(), one.port)).collect();
        assert_eq!(found, [("engine-0", "127.0.0.1", 8000), ("engine-1", "::1", 8001)]);
    }
}
