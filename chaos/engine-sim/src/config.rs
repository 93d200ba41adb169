//! The configuration of an emulated engine.
//!
//! Must not know how the engine is run.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An engine's configuration, as plain data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// Its name, sent in the header `x-inference-pod` of every response.
    pub name: String,
    /// The model it serves.
    pub model: String,
    /// LoRA adapters that are loaded.
    pub adapters: Vec<String>,
    /// Adapters that may run at once.
    pub max_loras: usize,
    /// Tokens of a KV block.
    pub block_tokens: usize,
    /// KV blocks. As in vLLM, one of them holds no request's.
    pub blocks: usize,
    /// Requests in the batch at once.
    pub max_num_seqs: usize,
    /// Requests in the queue at once; `None` means no bound.
    pub max_num_queued: Option<usize>,
    /// The most tokens of prompt and answer together.
    pub max_model_len: usize,
    /// Prompt tokens computed in a second, of prompts so short that attention costs nothing.
    pub prefill_tokens_per_s: f64,
    /// What a prompt token adds to its step for each token before it (attention), in nanoseconds.
    pub attention_ns: f64,
    /// The most tokens of one step, prompts and answers together.
    pub max_num_batched_tokens: usize,
    /// The time of a step that computes nothing: the weights are read.
    pub step_base: Duration,
    /// What each answering request adds to a step.
    pub step_per_seq: Duration,
    /// What each token of an answering request's context adds to a step (its KV is read), in nanoseconds.
    pub context_ns: f64,
    /// Whether prompts share KV blocks.
    pub prefix_caching: bool,
    /// Whether a full queue is reported as an error inside a stream that began with 200, as real vLLM does in a burst.
    pub busy_in_stream: bool,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            name: "engine-0".to_owned(),
            model: "tiny".to_owned(),
            adapters: Vec::new(),
            max_loras: 2,
            block_tokens: 16,
            blocks: 16_384,
            max_num_seqs: 64,
            max_num_queued: None,
            max_model_len: 400_000,
            prefill_tokens_per_s: 40_000.0,
            attention_ns: 0.0,
            max_num_batched_tokens: 4096,
            step_base: Duration::from_millis(4),
            step_per_seq: Duration::from_micros(100),
            context_ns: 0.0,
            prefix_caching: true,
            busy_in_stream: false,
        }
    }
}
