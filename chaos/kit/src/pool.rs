//! What replicas read: an EndpointPickerConfig whose endpoints come from a file, and that file.
//!
//! Must not know processes. A user's configuration is read by the replicas' own reader first, so its errors name the
//! lines that the user wrote.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use murmuration::config::{self, ConfigErrors};
use murmuration::plugin::Catalog;
use serde_json::{Value, json};

/// The plugin that names the endpoints; a user's configuration may call it by another name.
const DISCOVERY: &str = "file-discovery";

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The configuration is valid for a replica, but other engines can't be put into it.
    #[error("can't put other engines into {file}: {why}")]
    Rewrite {
        /// The configuration.
        file: String,
        /// Why not.
        why: String,
    },
}

/// An endpoints file among the temporary ones. Removed when dropped.
#[derive(Debug)]
pub struct EndpointsFile(PathBuf);

// === impl EndpointsFile ===

impl EndpointsFile {
    /// Chooses the file's path; there is no file yet.
    pub fn choose() -> Self {
        static FILES: AtomicU64 = AtomicU64::new(0);
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("murmuration-pool-{}-{number}.json", std::process::id())))
    }

    /// A file at `path`, which is removed when this is dropped.
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Writes a file with engines at these addresses.
    ///
    /// # Errors
    /// A sentence, when it can't be written.
    pub fn with(engines: &[SocketAddr]) -> Result<Self, String> {
        let file = Self::choose();
        let listed = engines.iter().enumerate().map(|(i, at)| (format!("vllm-{i:03}"), *at));
        let written = replace(&file.0, &endpoints_file(listed));
        written.map_err(|why| format!("can't write {}: {why}", file.0.display()))?;
        Ok(file)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for EndpointsFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Replaces a file by renaming, so that no replica reads half of it.
///
/// # Errors
/// When it can't be written.
pub fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, path)
}

/// `text`, or the default configuration if there is none, with its discovery replaced by the endpoints file at
/// `endpoints`. `file` is used in errors only, `catalog` has the plugins. The result is JSON, which the reader takes as
/// YAML.
///
/// # Errors
/// See [`PoolError`].
pub fn with_endpoints(
    text: Option<&str>,
    file: &str,
    endpoints: &Path,
    catalog: &Catalog,
) -> Result<String, PoolError> {
    let text = text.unwrap_or(config::default_text());
    let text = if text.trim().is_empty() { config::default_text() } else { text };
    config::read(text, file, catalog)?;
    let fail = |why: String| PoolError::Rewrite { file: file.to_owned(), why };
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

/// The default configuration with its endpoints from a file.
///
/// # Errors
/// None, as long as the default configuration can be read.
pub fn default_with_endpoints(endpoints: &Path) -> Result<String, String> {
    let made = with_endpoints(None, "the default configuration", endpoints, &Catalog::builtin());
    made.map_err(|why| why.to_string())
}

/// The endpoints file of `file-discovery`, from names and addresses.
pub fn endpoints_file(engines: impl IntoIterator<Item = (impl Into<String>, SocketAddr)>) -> String {
    format!("{:#}\n", json!({ "endpoints": listed(engines) }))
}

/// The list of endpoints in such a file.
pub fn listed(engines: impl IntoIterator<Item = (impl Into<String>, SocketAddr)>) -> Vec<Value> {
    engines.into_iter().map(|(name, at)| endpoint(&name.into(), at, &[])).collect()
}

/// One endpoint in such a file, with these labels.
pub fn endpoint(name: &str, at: SocketAddr, labels: &[(&str, &str)]) -> Value {
    let (address, port) = (at.ip().to_string(), at.port().to_string());
    let mut endpoint = json!({ "name": name, "namespace": "testbed", "address": address, "port": port });
    for (label, value) in labels {
        endpoint["labels"][label] = json!(value);
    }
    endpoint
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

    fn own(text: &str, endpoints: &str) -> Result<String, PoolError> {
        with_endpoints(Some(text), "mine.yaml", Path::new(endpoints), &Catalog::builtin())
    }

    #[test]
    fn the_default_configuration_finds_the_testbeds_engines() {
        let made = default_with_endpoints(Path::new("/run/endpoints.json")).unwrap();
        let blueprint = blueprint(&made);
        let discovery = blueprint.discovery.unwrap();
        assert_eq!((discovery.path.as_str(), discovery.watch), ("/run/endpoints.json", true));
        assert!(blueprint.effective.contains("prefill-cost-scorer"), "{}", blueprint.effective);
    }

    #[test]
    fn endpoints_that_a_configuration_names_are_replaced() {
        let text = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- type: queue-scorer\n\
                    - type: file-discovery\n  name: mine\n  parameters: {path: /etc/pool.yaml}\n\
                    dataLayer:\n  discovery: {pluginRef: mine}\n";
        let made = own(text, "/run/endpoints.json").unwrap();
        assert!(!made.contains("pool.yaml"), "{made}");
        assert_eq!(blueprint(&made).discovery.unwrap().path, "/run/endpoints.json");
    }

    #[test]
    fn an_error_names_the_configuration_and_its_line() {
        let text = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- type: queue-scorr\n";
        let message = own(text, "/run/e").unwrap_err().to_string();
        assert!(message.contains("mine.yaml:4") && message.contains("queue-scorer"), "{message}");
    }

    #[test]
    fn the_list_of_engines_is_read_as_it_was_written() {
        let engines =
            [("engine-0", "127.0.0.1:8000"), ("engine-1", "[::1]:8001")].map(|(name, at)| (name, at.parse().unwrap()));
        let read = reader::read(&endpoints_file(engines), "endpoints.json").unwrap();
        let found: Vec<_> = read.endpoints.iter().map(|one| (one.name.as_str(), one.host.as_str(), one.port)).collect();
        assert_eq!(found, [("engine-0", "127.0.0.1", 8000), ("engine-1", "::1", 8001)]);
    }
}
