//! How much of a prompt each endpoint is believed to hold in its KV cache.
//!
//! Must not know requests, endpoints' addresses or how text becomes tokens.

pub mod anchors;
pub mod chain;
pub mod index;
pub mod revocable;
pub mod salt;

use std::time::Duration;

use crate::id::BlockHash;
use crate::time::Timestamp;

pub use chain::{BlockSpec, ChainBuilder, PrefixChain};
pub use index::PrefixIndex;
pub(crate) use index::Tip;
pub use revocable::{PlacedBy, Revocable};

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

/// How many hashes two chains share from the head. Those equal at one place are equal before it, so the end is tried
/// first, then bisection.
fn shared(one: &[BlockHash], other: &[BlockHash]) -> usize {
    let most = one.len().min(other.len());
    if most == 0 || one[most - 1] == other[most - 1] {
        return most;
    }
    let (mut equal, mut differs) = (0, most - 1);
    while equal < differs {
        let middle = equal + (differs - equal) / 2;
        if one[middle] == other[middle] {
            equal = middle + 1;
        } else {
            differs = middle;
        }
    }
    equal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_chains_share_a_beginning() {
        let chain = |of: u64, len: u64| -> Vec<BlockHash> {
            (0..len).map(|at| BlockHash(if at < 3 { at } else { of * 100 + at })).collect()
        };
        for (one, other) in (0..9).flat_map(|one| (0..9).map(move |other| (one, other))) {
            let most = one.min(other) as usize;
            assert_eq!(shared(&chain(1, one), &chain(1, other)), most);
            assert_eq!(shared(&chain(1, one), &chain(2, other)), most.min(3));
        }
    }
}
