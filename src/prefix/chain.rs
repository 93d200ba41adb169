//! A prompt as chained block hashes.
//!
//! Must not know tokenizers: its input is bytes, at an agreed number of bytes for a token.

use std::hash::Hasher;

use crate::id::BlockHash;
use crate::prefix::anchors;
use crate::prefix::salt::keyed;

/// Purpose bytes in what is hashed: a hash made for one purpose never equals one made for another.
const BEGINNING: u8 = 0;
const BLOCK: u8 = 1;
const END: u8 = 2;

/// Chained block hashes of one prompt. Two prompts share their first `n` hashes exactly when they share the content of
/// their first `n` blocks and their seed (model and salt).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixChain {
    block_tokens: u32,
    blocks: Vec<BlockHash>,
    anchors: Vec<BlockHash>,
}

/// How prompts are cut into blocks; the same on every replica of a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSpec {
    /// Tokens of a block; at least 1.
    pub block_tokens: u32,
    /// Bytes that stand for one token; at least 1.
    pub bytes_per_token: u32,
    /// Blocks of a prompt that are kept; later ones are only hashed into the content.
    pub blocks_max: usize,
    /// The tier's own salt. Without it, a hash does not reveal which prompt was seen, and two prompts with one hash
    /// can't be built.
    pub tier_salt: u128,
}

/// Cuts a stream of bytes into chained blocks, without copying more than one block of it.
#[derive(Debug)]
pub struct ChainBuilder {
    spec: BlockSpec,
    block_bytes: usize,
    last: u64,
    partial: Vec<u8>,
    blocks: Vec<BlockHash>,
}

// === impl PrefixChain ===

impl PrefixChain {
    /// A chain from its parts.
    pub fn from_blocks(block_tokens: u32, blocks: Vec<BlockHash>) -> Self {
        let anchors = anchors::of(&blocks);
        Self { block_tokens, blocks, anchors }
    }

    /// Tokens that one block stands for; zero only for the empty default.
    pub fn block_tokens(&self) -> u32 {
        self.block_tokens
    }

    /// The hashes, from the prompt's head.
    pub fn blocks(&self) -> &[BlockHash] {
        &self.blocks
    }

    /// The chain's [`Self::anchors`], once its blocks are no longer needed.
    pub fn into_anchors(self) -> Vec<BlockHash> {
        self.anchors
    }

    /// The blocks that the index knows and peers receive (see [`anchors`]).
    pub fn anchors(&self) -> &[BlockHash] {
        &self.anchors
    }
}

// === impl ChainBuilder ===

impl ChainBuilder {
    /// A builder whose chain belongs to `model` and `salt`: equal text for another model shares nothing.
    pub fn new(spec: BlockSpec, model: &str, salt: Option<&str>) -> Self {
        let block_bytes = (spec.block_tokens.max(1) as usize).saturating_mul(spec.bytes_per_token.max(1) as usize);
        let mut hasher = keyed(spec.tier_salt);
        hasher.write(&[BEGINNING]);
        hasher.write(&(model.len() as u64).to_le_bytes());
        hasher.write(model.as_bytes());
        hasher.write(&[u8::from(salt.is_some())]);
        hasher.write(salt.unwrap_or_default().as_bytes());
        let last = hasher.finish();
        Self { spec, block_bytes, last, partial: Vec::new(), blocks: Vec::new() }
    }

    /// Adds the prompt's next bytes.
    pub fn push(&mut self, mut bytes: &[u8]) {
        if !self.partial.is_empty() {
            let wanted = self.block_bytes - self.partial.len();
            let taken = wanted.min(bytes.len());
            self.partial.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.partial.len() < self.block_bytes {
                return;
            }
            let full = std::mem::take(&mut self.partial);
            self.block(&full);
            self.partial = full;
            self.partial.clear();
        }
        let mut blocks = bytes.chunks_exact(self.block_bytes);
        for block in &mut blocks {
            self.block(block);
        }
        self.partial.extend_from_slice(blocks.remainder());
    }

    /// The chain of all full blocks, and a hash of everything that was pushed.
    pub fn finish(self) -> (PrefixChain, u64) {
        let content = self.hash(END, &self.partial);
        (PrefixChain::from_blocks(self.spec.block_tokens, self.blocks), content)
    }

    /// The hash of `bytes` and of everything before them.
    fn hash(&self, purpose: u8, bytes: &[u8]) -> u64 {
        let mut hasher = keyed(self.spec.tier_salt);
        hasher.write(&self.last.to_le_bytes());
        hasher.write(bytes);
        hasher.write(&[purpose]);
        hasher.finish()
    }

    fn block(&mut self, bytes: &[u8]) {
        self.last = self.hash(BLOCK, bytes);
        if self.blocks.len() < self.spec.blocks_max {
            self.blocks.push(BlockHash(self.last));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPEC: BlockSpec = BlockSpec { block_tokens: 4, bytes_per_token: 4, blocks_max: 1000, tier_salt: 0 };

    fn chain(model: &str, salt: Option<&str>, pieces: &[&[u8]]) -> (PrefixChain, u64) {
        let mut builder = ChainBuilder::new(SPEC, model, salt);
        pieces.iter().for_each(|piece| builder.push(piece));
        builder.finish()
    }

    #[test]
    fn only_full_blocks_are_in_a_chain_and_all_bytes_are_in_its_content() {
        let (whole, content) = chain("m", None, &[&[7; 35]]);
        let (shorter, other) = chain("m", None, &[&[7; 34]]);
        assert_eq!((whole.blocks().len(), &whole), (2, &shorter));
        assert_ne!(content, other);
    }

    #[test]
    fn another_model_or_salt_shares_nothing() {
        let first = |model, salt| chain(model, salt, &[&[7; 64]]).0.blocks()[0];
        let all =
            [first("m", None), first("n", None), first("m", Some("a")), first("m", Some("")), first("n", Some("a"))];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn tiers_share_nothing() {
        let other = ChainBuilder::new(BlockSpec { tier_salt: 1, ..SPEC }, "m", None);
        let of = |mut builder: ChainBuilder| {
            builder.push(&[7; 64]);
            builder.finish().0.blocks()[0]
        };
        assert_ne!(of(other), of(ChainBuilder::new(SPEC, "m", None)));
    }

    #[test]
    fn a_long_prompt_keeps_its_head() {
        let spec = BlockSpec { blocks_max: 3, ..SPEC };
        let mut builder = ChainBuilder::new(spec, "m", None);
        builder.push(&[7; 1000]);
        assert_eq!(builder.finish().0.blocks(), &chain("m", None, &[&[7; 1000]]).0.blocks()[..3]);
    }

    proptest! {
        #[test]
        fn how_a_prompt_arrives_does_not_matter(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0..300usize) {
            let at = at.min(bytes.len());
            prop_assert_eq!(chain("m", None, &[&bytes]), chain("m", None, &[&bytes[..at], &bytes[at..]]));
        }

        #[test]
        fn prompts_share_exactly_the_blocks_before_their_first_difference(
            head in proptest::collection::vec(any::<u8>(), 0..200),
            a in proptest::collection::vec(0u8..9, 1..50),
            b in proptest::collection::vec(10u8..19, 1..50),
        ) {
            let (a, _) = chain("m", None, &[&head, &a]);
            let (b, _) = chain("m", None, &[&head, &b]);
            let shared = a.blocks().iter().zip(b.blocks()).take_while(|(a, b)| a == b).count();
            prop_assert_eq!(shared, head.len() / 16);
        }
    }
}
