//! `approx-prefix-cache-producer`: how prompts become chains, and the index's capacity.
//!
//! Must not know the index.

use serde::{Deserialize, Serialize};

use super::part::{BYTES_PER_TOKEN, Part};
use crate::config::blueprint::PrefixSettings;

/// llm-d's default, which is vLLM's block size.
const DEFAULT_BLOCK_TOKENS: u32 = 16;
/// Maximum blocks of a prompt where no cap is set: 64 million tokens in blocks of 64.
const UNCAPPED_BLOCKS: usize = 1 << 20;

/// llm-d's parameters and defaults, and `minBlockSizeTokens`, which is a constant in llm-d.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Parameters {
    /// Whether an endpoint's capacity follows the cache geometry that its engine reports.
    auto_tune: bool,
    /// Tokens of a block; above 0 where `autoTune` is off. `minBlockSizeTokens` is the least.
    block_size_tokens: u32,
    /// The least tokens of a block, above 0. A constant in llm-d.
    min_block_size_tokens: u32,
    /// How much of a prompt is looked at, in tokens. Zero: `maxPrefixBlocksToMatch` counts.
    max_prefix_tokens_to_match: u32,
    /// How much of a prompt is looked at, in blocks, where `maxPrefixTokensToMatch` is 0. Zero: 1,048,576 blocks.
    max_prefix_blocks_to_match: u32,
    /// Blocks that an endpoint's cache is assumed to have until its engine reports its geometry, above 0.
    #[serde(rename = "lruCapacityPerServer")]
    lru_capacity_per_server: u64,
    /// Deprecated; used as `blockSizeTokens` if that has its default.
    #[serde(skip_serializing)]
    block_size: u32,
}

pub(super) fn build(parameters: &mut Parameters) -> Result<Part, String> {
    if parameters.block_size > 0 && parameters.block_size_tokens == DEFAULT_BLOCK_TOKENS {
        parameters.block_size_tokens = parameters.block_size;
    }
    let p = &*parameters;
    if p.min_block_size_tokens == 0 {
        return Err("minBlockSizeTokens must be above 0".to_owned());
    }
    if !p.auto_tune && p.block_size_tokens == 0 {
        return Err("blockSizeTokens must be above 0 where autoTune is off".to_owned());
    }
    if p.lru_capacity_per_server == 0 {
        return Err("lruCapacityPerServer must be above 0".to_owned());
    }
    let block_tokens = p.block_size_tokens.max(p.min_block_size_tokens);
    let blocks_max = match (p.max_prefix_tokens_to_match, p.max_prefix_blocks_to_match) {
        (0, 0) => UNCAPPED_BLOCKS,
        (0, blocks) => blocks as usize,
        (tokens, _) => (tokens / block_tokens).max(1) as usize,
    };
    Ok(Part::Prefix(PrefixSettings {
        enabled: true,
        block_tokens,
        blocks_max: blocks_max.min(UNCAPPED_BLOCKS),
        capacity_blocks: p.lru_capacity_per_server,
        auto_tune: p.auto_tune,
        bytes_per_token: BYTES_PER_TOKEN,
    }))
}

// === impl Parameters ===

impl Default for Parameters {
    fn default() -> Self {
        Self {
            auto_tune: true,
            block_size_tokens: DEFAULT_BLOCK_TOKENS,
            min_block_size_tokens: 64,
            max_prefix_tokens_to_match: 131_072,
            max_prefix_blocks_to_match: 2048,
            lru_capacity_per_server: 31_250,
            block_size: 0,
        }
    }
}
