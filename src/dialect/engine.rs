//! The metric names of each kind of engine.
//!
//! Must not know how a page is read (`metrics_page`) nor how a configuration spells the names (`config`).

/// One metric: a family name and labels that must be equal, llm-d's grammar `name` or `name{label=value,...}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricSpec {
    /// The family's whole name, such as `vllm:num_requests_waiting`.
    pub family: String,
    /// Labels that a series must carry.
    pub labels: Vec<(String, String)>,
    /// Names of the family in earlier releases of the engine; read where the current name is not on the page.
    pub older: &'static [&'static str],
}

/// Families that an engine renamed, with their earlier names.
const RENAMED: [(&str, &[&str]); 1] = [("vllm:kv_cache_usage_perc", &["vllm:gpu_cache_usage_perc"])];

/// The names that one kind of engine uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSpec {
    /// The kind, the value of the label `llm-d.ai/engine-type`.
    pub name: String,
    /// Requests in the queue.
    pub waiting: Option<MetricSpec>,
    /// Requests in the batch.
    pub running: Option<MetricSpec>,
    /// KV use, `0..=1`.
    pub kv_usage: Option<MetricSpec>,
    /// LoRA series, labels `max_lora`, `running_lora_adapters`, `waiting_lora_adapters`; its value is a time, newest
    /// wins.
    pub lora: Option<MetricSpec>,
    /// Info series whose labels hold the cache's geometry.
    pub cache_info: Option<MetricSpec>,
    /// Label of `cache_info` with the tokens of a block.
    pub cache_block_size_label: String,
    /// Label of `cache_info` with the number of blocks.
    pub cache_num_blocks_label: String,
    /// Gauge with the tokens of a block, for engines without an info series.
    pub cache_block_size: Option<MetricSpec>,
    /// Gauge with the number of blocks, likewise.
    pub cache_num_blocks: Option<MetricSpec>,
}

// === impl MetricSpec ===

impl MetricSpec {
    /// A family without labels.
    pub fn family(name: &str) -> Self {
        let older = RENAMED.iter().find(|(new, _)| *new == name).map_or::<&[&str], _>(&[], |(_, older)| older);
        Self { family: name.to_owned(), labels: Vec::new(), older }
    }
}

// === impl EngineSpec ===

impl EngineSpec {
    /// vLLM's names.
    pub fn vllm() -> Self {
        Self {
            name: "vllm".to_owned(),
            waiting: Some(MetricSpec::family("vllm:num_requests_waiting")),
            running: Some(MetricSpec::family("vllm:num_requests_running")),
            kv_usage: Some(MetricSpec::family("vllm:kv_cache_usage_perc")),
            lora: Some(MetricSpec::family("vllm:lora_requests_info")),
            cache_info: Some(MetricSpec::family("vllm:cache_config_info")),
            cache_block_size_label: "block_size".to_owned(),
            cache_num_blocks_label: "num_gpu_blocks".to_owned(),
            cache_block_size: None,
            cache_num_blocks: None,
        }
    }

    /// SGLang's names.
    pub fn sglang() -> Self {
        Self {
            name: "sglang".to_owned(),
            waiting: Some(MetricSpec::family("sglang:num_queue_reqs")),
            running: Some(MetricSpec::family("sglang:num_running_reqs")),
            kv_usage: Some(MetricSpec::family("sglang:token_usage")),
            lora: None,
            cache_info: Some(MetricSpec::family("sglang:cache_config_info")),
            cache_block_size_label: "page_size".to_owned(),
            cache_num_blocks_label: "num_pages".to_owned(),
            cache_block_size: None,
            cache_num_blocks: None,
        }
    }

    /// The names of `trtllm-serve`.
    pub fn trtllm_serve() -> Self {
        Self {
            name: "trtllm-serve".to_owned(),
            waiting: Some(MetricSpec::family("trtllm_num_requests_waiting")),
            running: Some(MetricSpec::family("trtllm_num_requests_running")),
            kv_usage: Some(MetricSpec::family("trtllm_kv_cache_utilization")),
            lora: None,
            cache_info: None,
            cache_block_size_label: String::new(),
            cache_num_blocks_label: String::new(),
            cache_block_size: Some(MetricSpec::family("trtllm_kv_cache_tokens_per_block")),
            cache_num_blocks: Some(MetricSpec::family("trtllm_kv_cache_max_blocks")),
        }
    }
}
