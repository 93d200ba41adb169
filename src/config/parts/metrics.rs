//! `metrics-data-source`: how engines are scraped.
//!
//! Must not know sockets.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::part::Part;
use crate::config::blueprint::ScrapeSettings;
use crate::config::duration;

/// The shortest interval, as in llm-d. A shorter one is raised to this, also in the effective configuration.
const INTERVAL_MIN: Duration = Duration::from_millis(50);

/// llm-d's parameters and defaults.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Parameters {
    /// `http`. `https` is known to llm-d and not here yet.
    scheme: String,
    /// The page's path, beginning with `/`.
    path: String,
    /// The page's port, 1 to 65535. Without it the endpoint's own port counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    /// Whether certificates are accepted unchecked. It belongs to `https` and has no effect yet.
    insecure_skip_verify: bool,
    /// Belongs to `https`; refused.
    #[serde(skip_serializing_if = "String::is_empty")]
    ca_cert_path: String,
    /// Belongs to `https`; refused.
    #[serde(skip_serializing_if = "String::is_empty")]
    client_cert_path: String,
    /// Belongs to `https`; refused.
    #[serde(skip_serializing_if = "String::is_empty")]
    client_key_path: String,
    /// Interval between two scrapes of an engine, such as `100ms`. A shorter one than 50ms is raised to that. Without
    /// it `--refresh-metrics-interval` counts.
    #[serde(skip_serializing_if = "String::is_empty")]
    interval: String,
}

pub(super) fn build(parameters: &mut Parameters) -> Result<Part, String> {
    let interval = match parameters.interval.as_str() {
        "" => None,
        text => Some(duration::read(text).map_err(|why| format!("interval: {why}"))?).filter(|span| !span.is_zero()),
    };
    if interval.is_some_and(|interval| interval < INTERVAL_MIN) {
        parameters.interval = format!("{}ms", INTERVAL_MIN.as_millis());
    }
    let p = &*parameters;
    match p.scheme.as_str() {
        "http" => {}
        "https" => return Err("scheme `https` is known to llm-d and not here yet; use `http`".to_owned()),
        other => return Err(format!("scheme must be `http` or `https`, got {other:?}")),
    }
    if !p.path.starts_with('/') {
        return Err(format!("path must begin with `/`, got {:?}", p.path));
    }
    if p.port == Some(0) {
        return Err("port must be within 1 and 65535, got 0".to_owned());
    }
    for (name, path) in [
        ("caCertPath", &p.ca_cert_path),
        ("clientCertPath", &p.client_cert_path),
        ("clientKeyPath", &p.client_key_path),
    ] {
        if !path.is_empty() {
            return Err(format!("{name} belongs to https, which is known to llm-d and not here yet; leave it out"));
        }
    }
    Ok(Part::Scrape(ScrapeSettings {
        https: false,
        path: p.path.clone(),
        port: p.port,
        interval: interval.map(|interval| interval.max(INTERVAL_MIN)),
        insecure_skip_verify: p.insecure_skip_verify,
    }))
}

// === impl Parameters ===

impl Default for Parameters {
    fn default() -> Self {
        Self {
            scheme: "http".to_owned(),
            path: "/metrics".to_owned(),
            port: None,
            insecure_skip_verify: true,
            ca_cert_path: String::new(),
            client_cert_path: String::new(),
            client_key_path: String::new(),
            interval: String::new(),
        }
    }
}
