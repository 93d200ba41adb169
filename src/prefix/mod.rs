//! How much of a prompt each endpoint is believed to hold in its KV cache.
//!
//! Must not know requests, endpoints' addresses or how text becomes tokens.

pub mod anchors;
pub mod chain;
pub mod index;
pub mod salt;

use std::time::Duration;

use crate::time::Timestamp;

pub use chain::{BlockSpec, ChainBuilder, PrefixChain};
pub use index::PrefixIndex;
pub(crate) use index::Tip;

/// How much of a prompt's chain one endpoint is believed to hold, from the head and without a gap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct PrefixMatch {
    /// Blocks held.
    pub blocks: u32,
    /// Blocks in the chain.
    pub of: u32,
}

/// When a prompt was sent to an endpoint. Unlike a [`Timestamp`] it may lie before this replica's start, so two earlier
/// moments stay distinct.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlacedAt(i64);

// === impl PlacedAt ===

impl PlacedAt {
    /// An unknown moment: before all others.
    pub const UNKNOWN: Self = Self(i64::MIN);

    /// The moment `age` before `now`.
    pub fn new(now: Timestamp, age: Duration) -> Self {
        let micros = |span: u128| i64::try_from(span).unwrap_or(i64::MAX);
        Self(micros(now.as_micros().into()).saturating_sub(micros(age.as_micros())))
    }

    /// How long before `now` it was; zero where it lies after.
    pub fn age(self, now: Timestamp) -> Duration {
        let Self(now) = Self::new(now, Duration::ZERO);
        Duration::from_micros(u64::try_from(now.saturating_sub(self.0)).unwrap_or(0))
    }
}

// === impl PrefixMatch ===

impl PrefixMatch {
    /// The matched fraction, `0..=1`; an empty chain matches nothing.
    pub fn ratio(self) -> f64 {
        if self.of == 0 { 0.0 } else { f64::from(self.blocks) / f64::from(self.of) }
    }
}
