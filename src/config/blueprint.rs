//! The result of a valid configuration. Defaults are resolved, so the code that uses it has nothing to interpret.
//!
//! Must not know YAML.

use std::time::Duration;

use crate::dialect::engine::EngineSpec;
use crate::plugin::Producer;
use crate::schedule::Profiles;
pub use crate::schedule::cost::InFlightSettings;
use crate::schedule::named::Named;
pub use crate::schedule::saturation::SaturationSettings;

/// The parts of a pool, ready to run.
#[derive(Debug)]
pub struct Blueprint {
    /// Profiles and their handler.
    pub profiles: Profiles,
    /// How prompts become chains, and the index's capacity.
    pub prefix: PrefixSettings,
    /// What counts as in-flight load.
    pub in_flight: InFlightSettings,
    /// When a pool counts as saturated.
    pub saturation: SaturationSettings,
    /// Parsers by path, in the configuration's order.
    pub parsers: Vec<Parser>,
    /// Who counts the tokens of prompts; `None` if they are estimated.
    pub renderer: Option<RendererSettings>,
    /// Who else is asked about a request before its decision, in the configuration's order.
    pub producers: Vec<Named<dyn Producer>>,
    /// How engines are scraped.
    pub scrape: ScrapeSettings,
    /// The engines' metric names.
    pub engines: EngineSettings,
    /// `file-discovery`, if the configuration names it.
    pub discovery: Option<FileDiscovery>,
    /// The configuration with every default written out, as YAML, for people and for `murmuration check`.
    pub effective: String,
}

/// `approx-prefix-cache-producer`.
#[derive(Clone, Debug, PartialEq)]
pub struct PrefixSettings {
    /// Whether chains are needed: a plugin reads matches, or the producer is declared.
    pub enabled: bool,
    /// Tokens of a block, at least 64 unless `minBlockSizeTokens` is lower.
    pub block_tokens: u32,
    /// Maximum number of blocks of a prompt that are looked at.
    pub blocks_max: usize,
    /// Assumed cache capacity of an endpoint, in blocks, until its engine reports one.
    pub capacity_blocks: u64,
    /// Whether the engine's reported cache geometry sets the capacity.
    pub auto_tune: bool,
    /// Bytes that stand for one token in the estimate.
    pub bytes_per_token: u32,
}

/// `token-producer` with `vllm`: a vLLM that renders prompts.
#[derive(Clone, Debug, PartialEq)]
pub struct RendererSettings {
    /// An address or a host name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How long a prompt of text may take; then the estimate counts.
    pub timeout: Duration,
    /// The same for a prompt with images, audio or video.
    pub media_timeout: Duration,
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
    /// The page's port, if it differs from the endpoint's.
    pub port: Option<u16>,
    /// The interval, if the configuration sets one.
    pub interval: Option<Duration>,
    /// Whether certificates are accepted without verification.
    pub insecure_skip_verify: bool,
}

/// `core-metrics-extractor`.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineSettings {
    /// The endpoint label that holds the engine's kind.
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
    /// Whether changes of the file are followed.
    pub watch: bool,
}

// === impl EngineSettings ===

impl EngineSettings {
    /// The metric names of an endpoint with these labels; an unknown kind uses those of the default engine.
    pub fn spec_for(&self, labels: &std::collections::BTreeMap<String, String>) -> Option<&EngineSpec> {
        let legacy = crate::fleet::endpoint::ENGINE_LABEL_LEGACY;
        let kind = labels.get(&self.label_key).or_else(|| labels.get(legacy)).unwrap_or(&self.default_engine);
        let by_name = |name: &str| self.specs.iter().find(|spec| spec.name == name);
        by_name(kind).or_else(|| by_name(&self.default_engine))
    }
}
