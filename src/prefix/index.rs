//! Which endpoint holds how much of which chain.
//!
//! Must not know endpoints' names: it thinks in slots.

use crate::id::{BlockHash, Slot};

/// The approximate prefix index of a pool.
#[derive(Debug)]
pub struct PrefixIndex {}

// === impl PrefixIndex ===

impl PrefixIndex {
    /// An empty index that never holds more than `bytes_max` bytes, all slots together.
    pub fn new(bytes_max: usize) -> Self {
        let _ = bytes_max;
        Self {}
    }

    /// Sets how many blocks `slot` can hold; blocks beyond are evicted at once, tails of the least recently used first.
    pub fn set_capacity(&mut self, slot: Slot, blocks: u64) {
        let _ = (slot, blocks);
    }

    /// Notes that `slot` was sent a prompt with this chain, from its head: all of it is now the most recently used.
    pub fn insert(&mut self, slot: Slot, chain: &[BlockHash]) {
        let _ = (slot, chain);
    }

    /// Notes that `slot` turned out to hold only the first `held` blocks of `chain`.
    pub fn shorten(&mut self, slot: Slot, chain: &[BlockHash], held: usize) {
        let _ = (slot, chain, held);
    }

    /// Forgets all of `slot`.
    pub fn clear(&mut self, slot: Slot) {
        let _ = slot;
    }

    /// For each slot that holds some of `chain`: `matches[slot]` becomes the number of its blocks held from the head
    /// without a gap. `matches` arrives all zero. One walk serves all slots.
    pub fn walk(&self, chain: &[BlockHash], matches: &mut [u32]) {
        let _ = (chain, matches);
    }

    /// Blocks that `slot` is believed to hold.
    pub fn held(&self, slot: Slot) -> u64 {
        let _ = slot;
        0
    }

    /// Bytes that the index takes now.
    pub fn bytes(&self) -> usize {
        0
    }
}
