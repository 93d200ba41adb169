//! What a request asks the model to read: its size, and its chain of blocks.
//!
//! Must not know how text becomes tokens; the parsers and the token producer do.

use crate::prefix::PrefixChain;

/// The prompt, reduced to what routing needs. No text leaves the process, so none is kept.
#[derive(Clone, Debug, Default)]
pub struct Prompt {
    /// Length in tokens (estimated, at about four bytes a token, unless a tokenizer counted).
    pub tokens: u64,
    /// Chained block hashes; the chain knows its block size.
    pub chain: PrefixChain,
}
