//! The prompt of a request: its size and its chain of blocks.
//!
//! Must not know how text becomes tokens; that belongs to the parsers and the token producer.

use crate::prefix::PrefixChain;

/// The prompt, reduced to what routing needs. No text is kept, so none can leave the process.
#[derive(Clone, Debug, Default)]
pub struct Prompt {
    /// Length in tokens; without a tokenizer an estimate of about four bytes a token.
    pub tokens: u64,
    /// Images, audio and video in it.
    pub media: u32,
    /// Chained block hashes; the chain knows its block size.
    pub chain: PrefixChain,
}
