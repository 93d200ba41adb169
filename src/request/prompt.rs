//! The prompt of a request: its size and its chain of blocks.
//!
//! Must not know how text becomes tokens; that belongs to the parsers and the token producer.

use crate::prefix::PrefixChain;

/// The prompt, reduced to what routing needs. No text is kept, so none can leave the process.
#[derive(Clone, Debug, Default)]
pub struct Prompt {
    /// Length in tokens; without a tokenizer an estimate of about four bytes a token.
    pub tokens: u64,
    /// The estimate of its length, which the chain's blocks are counted in. It differs from `tokens` where a tokenizer
    /// counted those.
    pub estimate: u64,
    /// Images, audio and video in it.
    pub media: u32,
    /// Chained block hashes; the chain knows its block size.
    pub chain: PrefixChain,
}

// === impl Prompt ===

impl Prompt {
    /// A prompt of this estimated length.
    pub fn estimated(tokens: u64, media: u32, chain: PrefixChain) -> Self {
        Self { tokens, estimate: tokens, media, chain }
    }

    /// Tokens that an endpoint must compute if it holds the first `blocks` blocks.
    pub fn uncached(&self, blocks: u32) -> u64 {
        let cached = u64::from(blocks) * u64::from(self.chain.block_tokens());
        if self.estimate == 0 {
            return self.tokens;
        }
        if self.tokens == self.estimate {
            return self.tokens.saturating_sub(cached);
        }
        // The blocks stand for their share of the prompt, whatever one of them counts.
        let left = u128::from(self.estimate.saturating_sub(cached));
        // At most `tokens`, so the cast keeps its value.
        (u128::from(self.tokens) * left / u128::from(self.estimate)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::BlockHash;

    #[test]
    fn cached_blocks_stand_for_their_share_of_a_counted_prompt() {
        let chain = PrefixChain::from_blocks(64, (0..10).map(BlockHash).collect());
        let mut prompt = Prompt::estimated(640, 0, chain);
        assert_eq!((prompt.uncached(0), prompt.uncached(4), prompt.uncached(11)), (640, 384, 0));
        prompt.tokens = 1_000;
        assert_eq!((prompt.uncached(0), prompt.uncached(4), prompt.uncached(10)), (1_000, 600, 0));
        prompt.estimate = 0;
        assert_eq!(prompt.uncached(0), 1_000, "nothing could be estimated");
    }
}
