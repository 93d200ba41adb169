//! The salt of a tier: the key under which all hashes of prompts are made.
//!
//! Must not know where the salt comes from. Without it, a guessed prompt can't be tested against a hash, and two
//! prompts with one hash can't be built: SipHash-1-3 is a keyed function made for that. It costs 21 ns for a block of
//! 64 bytes, where xxh3 costs 6 ns and keyed BLAKE3 167 ns (one core of the reference machine).

use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128, SipHasher13 as WideHasher};

/// A hasher under `salt`.
pub(crate) fn keyed(salt: u128) -> SipHasher13 {
    let (low, high) = halves(salt);
    SipHasher13::new_with_keys(low, high)
}

/// The salt of one tenant in a tier with `salt`: tenants share no hashes.
pub fn of_tenant(salt: u128, tenant: &str) -> u128 {
    let (low, high) = halves(salt);
    let mut hasher = WideHasher::new_with_keys(low, high);
    // Hashes for another purpose begin with another byte.
    hasher.write(b"t");
    hasher.write(tenant.as_bytes());
    hasher.finish128().as_u128()
}

fn halves(salt: u128) -> (u64, u64) {
    // The first cast drops the high half, which is the second key.
    (salt as u64, (salt >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_the_salt_counts_and_so_does_the_tenant() {
        let first = |salt| {
            let mut hasher = keyed(salt);
            hasher.write(b"prompt");
            hasher.finish()
        };
        assert!((0..128).all(|bit| first(1 << bit) != first(0)));
        let all = [of_tenant(0, "a"), of_tenant(0, "b"), of_tenant(1, "a"), of_tenant(0, ""), 0];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
    }

    /// Fixed values, because replicas of two releases must agree on them.
    #[test]
    fn hashes_never_change() {
        let mut hasher = keyed(0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100);
        hasher.write(b"prompt");
        assert_eq!(
            (hasher.finish(), of_tenant(7, "tenant")),
            (0x3f89_480c_a73d_92a4, 0x74f0_afa7_1fd2_463b_c24c_47b6_7cfe_53e2)
        );
    }
}
