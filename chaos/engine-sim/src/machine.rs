//! Engines on real machines, by what is published of the hardware and of the model: a roofline.
//!
//! A step takes as long as reading the weights and the contexts' KV at the memory's speed, and computing its tokens at
//! the arithmetic's. Neither speed is reached in practice; the shares that are assumed are the two constants below. So
//! these are engines of the right order and the right proportions, and no measurement.
//!
//! Must not know how an engine is run.

use std::time::Duration;

use clap::ValueEnum;

use crate::EngineConfig;

/// The share of the peak arithmetic that a prefill reaches. Published prefill rates of 8B to 70B models lie between 0.4
/// and 0.6 of the peak of dense bf16.
const ARITHMETIC: f64 = 0.5;
/// The share of the peak memory speed that decoding reaches.
const MEMORY: f64 = 0.7;
/// What a step takes besides: kernels are launched, tokens are sampled, the next batch is made.
const OVERHEAD: Duration = Duration::from_millis(2);
/// vLLM's `gpu_memory_utilization`.
const MEMORY_USED: f64 = 0.9;
/// What activations and CUDA graphs take of a GPU.
const ACTIVATIONS_BYTES: f64 = 4e9;
/// vLLM's `block_size`.
const BLOCK_TOKENS: usize = 16;

/// A model on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Machine {
    /// Llama-3.1-8B, bf16, on one H100 SXM.
    Llama8bH100,
    /// Llama-3.1-70B, bf16, on four H100 SXM.
    Llama70b4xh100,
    /// Qwen3-30B-A3B, bf16, on one H100 SXM: a mixture of experts.
    Qwen30bA3bH100,
    /// A tiny model on two CPU cores, for tests: slow, and with a small cache.
    CpuTest,
}

/// The hardware: dense bf16 arithmetic a second, bytes a second, bytes; each of one GPU.
struct Hardware {
    flops: f64,
    bytes_per_s: f64,
    bytes: f64,
}

/// NVIDIA's data sheet of the H100 SXM5.
const H100: Hardware = Hardware { flops: 989e12, bytes_per_s: 3.35e12, bytes: 80e9 };

/// What a model's `config.json` says.
struct Model {
    name: &'static str,
    /// Parameters.
    all: f64,
    /// Parameters that one token uses.
    active: f64,
    /// Parameters that a step reads.
    read: f64,
    layers: f64,
    heads: f64,
    kv_heads: f64,
    head: f64,
}

const LLAMA_8B: Model = Model {
    name: "meta-llama/Llama-3.1-8B-Instruct",
    all: 8.03e9,
    active: 8.03e9,
    read: 8.03e9,
    layers: 32.0,
    heads: 32.0,
    kv_heads: 8.0,
    head: 128.0,
};

const LLAMA_70B: Model = Model {
    name: "meta-llama/Llama-3.1-70B-Instruct",
    all: 70.6e9,
    active: 70.6e9,
    read: 70.6e9,
    layers: 80.0,
    heads: 64.0,
    kv_heads: 8.0,
    head: 128.0,
};

/// A batch of a few dozen tokens uses about half of the experts.
const QWEN_30B_A3B: Model = Model {
    name: "Qwen/Qwen3-30B-A3B",
    all: 30.5e9,
    active: 3.3e9,
    read: 15e9,
    layers: 48.0,
    heads: 32.0,
    kv_heads: 4.0,
    head: 128.0,
};

// === impl Machine ===

impl Machine {
    /// The engine.
    pub fn config(self) -> EngineConfig {
        match self {
            Self::Llama8bH100 => roofline(&LLAMA_8B, &H100, 1.0),
            Self::Llama70b4xh100 => roofline(&LLAMA_70B, &H100, 4.0),
            Self::Qwen30bA3bH100 => roofline(&QWEN_30B_A3B, &H100, 1.0),
            Self::CpuTest => EngineConfig {
                prefill_tokens_per_s: 3_000.0,
                step_base: Duration::from_millis(12),
                step_per_seq: Duration::from_micros(400),
                blocks: 2_048,
                max_num_batched_tokens: 2048,
                ..EngineConfig::default()
            },
        }
    }
}

fn roofline(model: &Model, hardware: &Hardware, gpus: f64) -> EngineConfig {
    let arithmetic = hardware.flops * gpus * ARITHMETIC;
    let memory = hardware.bytes_per_s * gpus * MEMORY;
    // Two bytes for a parameter; keys and values of two bytes in each layer.
    let kv_bytes = model.layers * model.kv_heads * model.head * 2.0 * 2.0;
    let room = (hardware.bytes * MEMORY_USED - ACTIVATIONS_BYTES) * gpus - model.all * 2.0;
    let prefill_tokens_per_s = arithmetic / (2.0 * model.active);
    EngineConfig {
        model: model.name.to_owned(),
        block_tokens: BLOCK_TOKENS,
        blocks: (room / kv_bytes) as usize / BLOCK_TOKENS,
        max_num_seqs: 256,
        max_num_batched_tokens: 8192,
        prefill_tokens_per_s,
        // A multiplication and an addition for scores, and again for values, in each head of each layer.
        attention_ns: 4.0 * model.layers * model.heads * model.head / arithmetic * 1e9,
        step_base: OVERHEAD + Duration::from_secs_f64(model.read * 2.0 / memory),
        step_per_seq: Duration::from_secs_f64(1.0 / prefill_tokens_per_s),
        context_ns: kv_bytes / memory * 1e9,
        ..EngineConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_have_the_order_of_what_is_published_of_them() {
        let within = |value: f64, low: f64, high: f64| assert!((low..high).contains(&value), "{value}");
        let small = Machine::Llama8bH100.config();
        within(small.prefill_tokens_per_s, 25_000.0, 40_000.0);
        within(small.step_base.as_secs_f64() * 1e3, 6.0, 11.0);
        within((small.blocks * small.block_tokens) as f64, 300_000.0, 500_000.0);
        let large = Machine::Llama70b4xh100.config();
        within(large.prefill_tokens_per_s, 8_000.0, 16_000.0);
        within(large.step_base.as_secs_f64() * 1e3, 14.0, 25.0);
        within((large.blocks * large.block_tokens) as f64, 300_000.0, 500_000.0);
        let experts = Machine::Qwen30bA3bH100.config();
        assert!(experts.prefill_tokens_per_s > small.prefill_tokens_per_s && experts.step_base > small.step_base);
    }

    /// A prompt token's attention to 100,000 tokens costs an 8B model more than all else that it computes.
    #[test]
    fn attention_outweighs_the_rest_in_long_contexts() {
        let config = Machine::Llama8bH100.config();
        let attention = config.attention_ns * 1e-9 * 100_000.0 * config.prefill_tokens_per_s;
        assert!((2.0..5.0).contains(&attention), "{attention}");
    }
}
