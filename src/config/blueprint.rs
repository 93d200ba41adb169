//! What a valid configuration builds. Nothing here is optional that the code would have to interpret.
//!
//! Must not know YAML.

use std::time::Duration;

use crate::dialect::engine::EngineSpec;
use crate::schedule::Profiles;

/// A pool's parts, ready to run.
#[derive(Debug)]
pub struct Blueprint {
    /// Profiles and their handler.
    pub profiles: Profiles,
    /// How prompts become chains, and what the index may hold.
    pub prefix: PrefixSettings,
    /// What in-flight load counts.
    pub in_flight: InFlightSettings,
    /// When a pool counts as saturated.
    pub saturation: SaturationSettings,
    /// Parsers by path, in the configuration's order.
    pub parsers: Vec<Parser>,
    /// Where engines are scraped.
    pub scrape: ScrapeSettings,
    /// The engines' metric names.
    pub engines: EngineSettings,
    /// `file-discovery`, where the configuration names it.
    pub discovery: Option<FileDiscovery>,
    /// The configuration with every default written out, as YAML, for people and for `murmuration check`.
    pub effective: String,
}

/// `approx-prefix-cache-producer`.
#[derive(Clone, Debug, PartialEq)]
pub struct PrefixSettings {
    /// Whether chains are needed at all (some plugin reads matches).
    pub enabled: bool,
    /// Tokens of a block, at least 64 unless `minBlockSizeTokens` says less.
    pub block_tokens: u32,
    /// Blocks of a prompt that are looked at.
    pub blocks_max: usize,
    /// Blocks an endpoint is believed to hold while it has not told its cache's size.
    pub capacity_blocks: u64,
    /// Whether the engine's own geometry sets the capacity.
    pub auto_tune: bool,
    /// Bytes that stand for one token in the estimate.
    pub bytes_per_token: u32,
}

/// `inflight-load-producer`.
#[derive(Clone, Debug, PartialEq)]
pub struct InFlightSettings {
    /// Whether the estimated answer counts too.
    pub add_estimated_output_tokens: bool,
    /// Answer tokens for each prompt token, in that estimate.
    pub output_ratio: f64,
    /// Upper bound of that estimate.
    pub max_estimated_output_tokens: Option<u64>,
}

/// `utilization-detector`.
#[derive(Clone, Debug, PartialEq)]
pub struct SaturationSettings {
    /// Waiting requests that count as full.
    pub queue_depth_threshold: f64,
    /// KV use that counts as full.
    pub kv_cache_util_threshold: f64,
}

/// A request parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parser {
    /// `openai-parser`: reads model and prompt of every JSON API (OpenAI's, Anthropic's, vLLM's own), on any path.
    OpenAi,
    /// `passthrough-parser`: claims every path and reads nothing.
    Passthrough,
}

/// `metrics-data-source`.
#[derive(Clone, Debug, PartialEq)]
pub struct ScrapeSettings {
    /// `http`, or `https`.
    pub https: bool,
    /// The page's path.
    pub path: String,
    /// The page's port where it is not the endpoint's own.
    pub port: Option<u16>,
    /// The interval where the configuration sets one.
    pub interval: Option<Duration>,
    /// Whether any certificate will do.
    pub insecure_skip_verify: bool,
}

/// `core-metrics-extractor`.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineSettings {
    /// The endpoint label that names the engine's kind.
    pub label_key: String,
    /// The kind of endpoints without that label.
    pub default_engine: String,
    /// Known kinds.
    pub specs: Vec<EngineSpec>,
}

/// `file-discovery`.
#[derive(Clone, Debug, PartialEq)]
pub struct FileDiscovery {
    /// The endpoints file.
    pub path: String,
    /// Whether changes are followed.
    pub watch: bool,
}

// === impl EngineSettings ===

impl EngineSettings {
    /// The metric names of an endpoint with these labels; an unknown kind speaks like the default one.
    pub fn spec_for(&self, labels: &std::collections::BTreeMap<String, String>) -> Option<&EngineSpec> {
        let legacy = crate::fleet::endpoint::ENGINE_LABEL_LEGACY;
        let kind = labels.get(&self.label_key).or_else(|| labels.get(legacy)).unwrap_or(&self.default_engine);
        let by_name = |name: &str| self.specs.iter().find(|spec| spec.name == name);
        by_name(kind).or_else(|| by_name(&self.default_engine))
    }
}
