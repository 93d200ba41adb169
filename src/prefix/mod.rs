//! What of a prompt each endpoint is believed to hold in its KV cache.
//!
//! Must not know requests, endpoints' addresses or how text becomes tokens.

pub mod anchors;
pub mod chain;
pub mod index;

pub use chain::{ChainBuilder, Cut, PrefixChain};
pub use index::PrefixIndex;

/// How much of a prompt's chain one endpoint is believed to hold, from the head and without a gap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct PrefixMatch {
    /// Blocks held.
    pub blocks: u32,
    /// Blocks in the chain.
    pub of: u32,
}

// === impl PrefixMatch ===

impl PrefixMatch {
    /// The matched share, `0..=1`; an empty chain matches nothing.
    pub fn ratio(self) -> f64 {
        if self.of == 0 { 0.0 } else { f64::from(self.blocks) / f64::from(self.of) }
    }
}
