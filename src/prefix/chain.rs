//! A prompt as chained block hashes.
//!
//! Must not know tokenizers: it is fed bytes, at an agreed number of bytes for a token.

use crate::id::BlockHash;

/// Chained block hashes of one prompt. Two prompts share their first `n` hashes exactly when they share the content of
/// their first `n` blocks and their seed (model and salt).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixChain {
    block_tokens: u32,
    blocks: Vec<BlockHash>,
}

// === impl PrefixChain ===

impl PrefixChain {
    /// A chain from its parts.
    pub fn from_blocks(block_tokens: u32, blocks: Vec<BlockHash>) -> Self {
        Self { block_tokens, blocks }
    }

    /// Tokens that one block stands for; zero only for the empty default.
    pub fn block_tokens(&self) -> u32 {
        self.block_tokens
    }

    /// The hashes, from the prompt's head.
    pub fn blocks(&self) -> &[BlockHash] {
        &self.blocks
    }
}
