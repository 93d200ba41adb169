//! Generates ids for requests that came without one.
//!
//! Must not know what the ids are used for. They influence a decision only where a request has no other content.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// A source of numbers that no other replica, and no client, can predict.
#[derive(Debug, Default)]
pub struct IdGenerator {
    keys: RandomState,
    count: AtomicU64,
}

// === impl IdGenerator ===

impl IdGenerator {
    /// The next 128 bits: a count under a keyed hash. The process draws the keys at random.
    pub fn generate(&self) -> u128 {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let half = |which: u8| u128::from(self.keys.hash_one((count, which)));
        half(0) << 64 | half(1)
    }
}

/// The bits as a UUID of version 4.
pub fn uuid(bits: u128) -> String {
    let bits = bits & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let part = |shift: u32, mask: u128| (bits >> shift) & mask;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        part(96, 0xffff_ffff),
        part(80, 0xffff),
        part(64, 0xffff),
        part(48, 0xffff),
        part(0, 0xffff_ffff_ffff)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_id_is_a_version_4_uuid_for_any_bits() {
        assert_eq!(uuid(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn no_two_numbers_are_equal() {
        let ids = IdGenerator::default();
        let numbers: std::collections::BTreeSet<u128> = (0..1_000).map(|_| ids.generate()).collect();
        assert_eq!(numbers.len(), 1_000);
        assert_ne!(IdGenerator::default().generate(), IdGenerator::default().generate());
    }
}
