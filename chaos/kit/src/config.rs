//! The settings of a test's replica.
//!
//! Must not know the running replica. By default nothing listens at its engines' addresses, and they are scraped once
//! an hour, so only the test's input counts. A plugin of this file picks endpoints in the given order; a user adds a
//! plugin the same way.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use murmuration::chance::Chance;
use murmuration::config::default_text;
use murmuration::plugin::{Catalog, Picker, Plugin, Roles};
use murmuration::schedule::{Ask, Candidate};
use murmuration_actors::ext_proc::{Limits, ResponsePath, TrustedSpelling};
use murmuration_actors::replica::{PromptSalt, ReplicaSettings, Tls};
use murmuration_actors::replication::ReplicationSettings;
use serde::{Deserialize, Serialize};

use crate::pool::{self, EndpointsFile};
use crate::settings;

/// The objective whose requests may be shed.
pub const SHEDDABLE: &str = "sheddable";

/// The sample for prefill and decode.
const PAIRS: &str = include_str!("../../../deploy/config/prefill-decode.yaml");

/// The settings of a test's replica.
#[derive(Clone, Debug)]
pub struct Config {
    /// The largest body, in bytes.
    pub body_bytes: u64,
    /// The most streams that may be open at once.
    pub streams_max: usize,
    /// The other limits of its ext-proc service.
    pub limits: Limits,
    /// Which spelling of the control headers is read.
    pub trusted: TrustedSpelling,
    /// Whether it stays in the path of the answer.
    pub response_path: ResponsePath,
    /// The most endpoints in a destination.
    pub destinations: usize,
    /// The longest drain.
    pub drain_timeout: Duration,
    /// The salt of prompts.
    pub salt: PromptSalt,
    /// The time from one scrape of an engine to the next.
    pub interval: Duration,
    /// Whether it scores with the default configuration. Otherwise it takes endpoints in order.
    pub scores: bool,
    /// Whether a request that names its session in `x-session-id` stays with its endpoint. Needs `scores`.
    pub sessions: bool,
    /// Whether requests with long prompts get a prefill endpoint too. Endpoints are then given with their role, as in
    /// `127.0.0.1:7@prefill`.
    pub pairs: bool,
    /// Its replication settings; without them it has no peers.
    pub replication: Option<ReplicationSettings>,
    /// TLS of the ext-proc service.
    pub tls: Tls,
}

/// Picks candidates in their order.
#[derive(Debug)]
struct InOrder {
    most: usize,
}

/// The parameters of [`InOrder`].
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct InOrderParameters {
    max_num_of_endpoints: usize,
}

impl Picker for InOrder {
    fn pick(&self, _: &Ask<'_>, rows: &[Candidate<'_>], _: &[f64], _: &mut Chance, chosen: &mut Vec<usize>) {
        chosen.extend(0..rows.len().min(self.most));
    }
}

impl Plugin for InOrder {
    const TYPE: &'static str = "in-order-picker";
    type Parameters = InOrderParameters;

    fn build(parameters: InOrderParameters) -> Result<Self, String> {
        Ok(Self { most: parameters.max_num_of_endpoints })
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::picker(self)
    }
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            body_bytes: 64 << 20,
            streams_max: 10_000,
            limits: Limits::default(),
            trusted: TrustedSpelling::default(),
            response_path: ResponsePath::Stay,
            destinations: 1,
            drain_timeout: Duration::from_secs(10),
            salt: PromptSalt::Given(0),
            interval: Duration::from_secs(3600),
            scores: false,
            sessions: false,
            pairs: false,
            replication: None,
            tls: Tls::Plain,
        }
    }
}

impl Config {
    /// A replica that scores with the default configuration.
    pub fn scoring() -> Self {
        Self { scores: true, ..Self::default() }
    }

    /// The settings of such a replica, whose endpoints are in this file.
    pub(crate) fn settings(&self, endpoints: &EndpointsFile) -> ReplicaSettings {
        let in_order = format!(
            "apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: in-order-picker
  parameters: {{maxNumOfEndpoints: {}}}
- type: prefix-cache-scorer
schedulingProfiles:
- name: default
  plugins: [{{pluginRef: in-order-picker}}, {{pluginRef: prefix-cache-scorer}}]
",
            self.destinations,
        );
        let text = match (self.pairs, self.scores, self.sessions) {
            (true, _, _) => PAIRS.to_owned(),
            (_, false, _) => in_order,
            (_, true, false) => default_text().to_owned(),
            (_, true, true) => with_sessions(default_text()),
        };
        let text = pool::with_endpoints(Some(&text), "test", endpoints.path(), &catalog()).unwrap();
        let limits = Limits { body_bytes: self.body_bytes, streams_max: self.streams_max, ..self.limits };
        ReplicaSettings {
            replication: self.replication.clone(),
            catalog,
            interval: self.interval,
            gauges_interval: Duration::from_secs(3600),
            limits,
            trusted: self.trusted,
            response_path: self.response_path,
            index_bytes_max: 64 << 20,
            tls: self.tls.clone(),
            drain_timeout: self.drain_timeout,
            salt: self.salt,
            ..settings::replica(text)
        }
    }
}

fn catalog() -> Catalog {
    Catalog::builtin().register::<InOrder>()
}

/// The same configuration with session affinity by header.
fn with_sessions(text: &str) -> String {
    let affinity = "plugins:\n- type: session-affinity-filter\n  parameters: {strategy: session_id}\n";
    let text = text.replacen("plugins:\n", affinity, 1);
    text.replace("  plugins:\n", "  plugins:\n  - pluginRef: session-affinity-filter\n")
}
