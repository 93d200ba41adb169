//! What an engine said of itself on its metrics page.
//!
//! Must not know Prometheus text (that is `dialect/vllm_metrics`), nor what a scorer makes of it.

use std::time::Duration;

use serde::Serialize;

/// One reading of an engine's own gauges. Only ever built from a whole page: a torn page gives no report, never zeros.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LoadReport {
    /// Requests in the engine's queue, summed over its data-parallel engines.
    pub waiting: u32,
    /// Requests in the engine's batch, summed likewise.
    pub running: u32,
    /// Share of KV-cache blocks held by live requests, `0..=1`, the mean over engines.
    pub kv_usage: f64,
    /// LoRA adapters; `None` where the engine reports none.
    pub adapters: Option<Adapters>,
    /// The engine's KV-cache geometry; `None` where it doesn't tell.
    pub cache: Option<CacheGeometry>,
    /// `false` while the engine says it is asleep: its `/health` still answers 200 and its requests hang.
    pub awake: bool,
}

/// The newest series of `lora_requests_info`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Adapters {
    /// Slots for adapters on the engine.
    pub max: u32,
    /// Adapters of running requests.
    pub running: Vec<String>,
    /// Adapters of unfinished requests.
    pub waiting: Vec<String>,
}

/// `cache_config_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CacheGeometry {
    /// Tokens of a KV block.
    pub block_tokens: u32,
    /// KV blocks on the device, summed over engines.
    pub blocks: u64,
}

/// A report together with the time its scrape took; the age on arrival.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// What the engine said.
    pub report: LoadReport,
    /// How old the report already is: from the sending of the scrape to its handing over. Every request dispatched in
    /// that span may be missing from it.
    pub age: Duration,
}
