//! `core-metrics-extractor`: the gauge names of each kind of engine.
//!
//! Must not read metrics pages.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::part::Part;
use crate::config::blueprint::EngineSettings;
use crate::dialect::engine::{EngineSpec, MetricSpec};
use crate::fleet::endpoint::ENGINE_LABEL;

/// The name that llm-d reserves for the default engine.
const RESERVED_NAME: &str = "default";

/// llm-d's parameters and defaults; its built-in engines are added to the configured ones.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Parameters {
    /// The endpoint label that says which kind of engine it is.
    engine_label_key: String,
    /// The kind of endpoints without that label, or with an unknown kind.
    default_engine: String,
    /// Kinds of engine; one called like a built-in kind replaces it.
    engine_configs: Vec<EngineConfig>,
}

/// One kind of engine; an empty spec means that the engine lacks the gauge.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct EngineConfig {
    /// The kind's name, unique and not `default`.
    name: String,
    /// The gauge of waiting requests, as `name` or `name{label=value}`; empty if the engine has none.
    queued_requests_spec: String,
    /// The gauge of running requests.
    running_requests_spec: String,
    /// The gauge of KV-cache use, 0 to 1.
    #[serde(rename = "kvUsageSpec")]
    kv_usage_spec: String,
    /// The info gauge of LoRA adapters.
    lora_spec: String,
    /// The info gauge of the cache's geometry.
    cache_info_spec: String,
    /// Its label for the tokens of a block. Default: vLLM's `block_size`.
    cache_block_size_label_name: String,
    /// Its label for the number of blocks. Default: vLLM's `num_gpu_blocks`.
    cache_num_blocks_label_name: String,
    /// A gauge of the tokens of a block, where there is no info gauge.
    cache_block_size_spec: String,
    /// A gauge of the number of blocks, where there is no info gauge.
    cache_num_blocks_spec: String,
    /// Known to llm-d and not here yet; refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    custom_metrics: Vec<Value>,
}

pub(super) fn build(parameters: &mut Parameters) -> Result<Part, String> {
    let rest = Parameters::default();
    if parameters.default_engine.is_empty() {
        parameters.default_engine = rest.default_engine;
    }
    if parameters.engine_label_key.is_empty() {
        parameters.engine_label_key = rest.engine_label_key;
    }
    for builtin in builtin() {
        if !parameters.engine_configs.iter().any(|config| config.name == builtin.name) {
            parameters.engine_configs.push(builtin);
        }
    }
    let mut specs: Vec<EngineSpec> = Vec::new();
    for config in &parameters.engine_configs {
        if specs.iter().any(|spec| spec.name == config.name) {
            return Err(format!("engineConfigs has two engines called {:?}", config.name));
        }
        specs.push(config.spec().map_err(|why| format!("the engine {:?}: {why}", config.name))?);
    }
    let default_engine = parameters.default_engine.clone();
    if !specs.iter().any(|spec| spec.name == default_engine) {
        let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        let known = crate::config::suggestion::listed(&names);
        return Err(format!("defaultEngine {default_engine:?} is not among the engines; known are {known}"));
    }
    Ok(Part::Engines(EngineSettings { label_key: parameters.engine_label_key.clone(), default_engine, specs }))
}

/// llm-d's five built-in engines.
fn builtin() -> Vec<EngineConfig> {
    let triton_llm = "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=";
    let mut all: Vec<EngineConfig> =
        [EngineSpec::vllm(), EngineSpec::sglang(), EngineSpec::trtllm_serve()].iter().map(EngineConfig::of).collect();
    all.push(EngineConfig {
        name: "triton-tensorrt-llm".to_owned(),
        queued_requests_spec: "nv_trt_llm_request_metrics{request_type=waiting}".to_owned(),
        running_requests_spec: "nv_trt_llm_request_metrics{request_type=scheduled}".to_owned(),
        kv_usage_spec: format!("{triton_llm}fraction}}"),
        cache_block_size_spec: format!("{triton_llm}tokens_per}}"),
        cache_num_blocks_spec: format!("{triton_llm}max}}"),
        ..EngineConfig::default()
    });
    all.push(EngineConfig {
        name: "triton".to_owned(),
        queued_requests_spec: "nv_inference_pending_request_count".to_owned(),
        running_requests_spec: "nv_inference_exec_count".to_owned(),
        ..EngineConfig::default()
    });
    all
}

/// Reads `name` or `name{label=value,...}`; values may be quoted. Empty text is no gauge.
fn metric(text: &str) -> Result<Option<MetricSpec>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || format!("{text:?} is no metric such as `name` or `name{{label=value}}`");
    let (family, labels) = match text.split_once('{') {
        None => (text, ""),
        Some((family, rest)) => (family.trim(), rest.strip_suffix('}').ok_or_else(wrong)?.trim()),
    };
    let is_name = |name: &str| {
        let byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
        !name.is_empty() && name.bytes().all(byte) && !name.starts_with(|first: char| first.is_ascii_digit())
    };
    if !is_name(family) {
        return Err(wrong());
    }
    let mut spec = MetricSpec::family(family);
    for pair in labels.split(',').filter(|_| !labels.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(wrong)?;
        let (name, value) = (name.trim(), value.trim());
        let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        if !is_name(name) || bare.contains(['"', '{', '}']) {
            return Err(wrong());
        }
        spec.labels.push((name.to_owned(), bare.to_owned()));
    }
    Ok(Some(spec))
}

fn written(spec: Option<&MetricSpec>) -> String {
    let Some(spec) = spec else { return String::new() };
    let labels: Vec<String> = spec.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if labels.is_empty() { spec.family.clone() } else { format!("{}{{{}}}", spec.family, labels.join(",")) }
}

// === impl Parameters ===

impl Default for Parameters {
    fn default() -> Self {
        Self {
            engine_label_key: ENGINE_LABEL.to_owned(),
            default_engine: "vllm".to_owned(),
            engine_configs: Vec::new(),
        }
    }
}

// === impl EngineConfig ===

impl EngineConfig {
    fn of(spec: &EngineSpec) -> Self {
        Self {
            name: spec.name.clone(),
            queued_requests_spec: written(spec.waiting.as_ref()),
            running_requests_spec: written(spec.running.as_ref()),
            kv_usage_spec: written(spec.kv_usage.as_ref()),
            lora_spec: written(spec.lora.as_ref()),
            cache_info_spec: written(spec.cache_info.as_ref()),
            cache_block_size_label_name: spec.cache_block_size_label.clone(),
            cache_num_blocks_label_name: spec.cache_num_blocks_label.clone(),
            cache_block_size_spec: written(spec.cache_block_size.as_ref()),
            cache_num_blocks_spec: written(spec.cache_num_blocks.as_ref()),
            custom_metrics: Vec::new(),
        }
    }

    fn spec(&self) -> Result<EngineSpec, String> {
        if self.name.is_empty() || self.name == RESERVED_NAME {
            return Err(format!("an engine needs a name other than {RESERVED_NAME:?}"));
        }
        if !self.custom_metrics.is_empty() {
            return Err("customMetrics are known to llm-d and not here yet; leave them out".to_owned());
        }
        let cache_info = metric(&self.cache_info_spec)?;
        // An info series without label names uses vLLM's.
        let label = |given: &str, vllm: &str| match given.is_empty() && cache_info.is_some() {
            true => vllm.to_owned(),
            false => given.to_owned(),
        };
        Ok(EngineSpec {
            name: self.name.clone(),
            waiting: metric(&self.queued_requests_spec)?,
            running: metric(&self.running_requests_spec)?,
            kv_usage: metric(&self.kv_usage_spec)?,
            lora: metric(&self.lora_spec)?,
            cache_block_size_label: label(&self.cache_block_size_label_name, "block_size"),
            cache_num_blocks_label: label(&self.cache_num_blocks_label_name, "num_gpu_blocks"),
            cache_info,
            cache_block_size: metric(&self.cache_block_size_spec)?,
            cache_num_blocks: metric(&self.cache_num_blocks_spec)?,
        })
    }
}
