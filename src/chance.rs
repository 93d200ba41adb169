//! A deterministic pseudo-random generator, seeded by the caller.
//!
//! Must not use entropy. Decisions seed it with the hash of the request's content. So every replica draws the same
//! numbers for the same request, and a decision can be replayed.

/// A small, fast generator (splitmix64). Two generators with the same seed give the same sequence.
#[derive(Clone, Debug)]
pub struct Chance {
    state: u64,
}

// === impl Chance ===

impl Chance {
    /// A generator that starts from `seed`.
    pub const fn from_seed(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number in `[0, 1)` with 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number in `0..n` with negligible bias; `0` when `n` is `0`.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next_u64()) * n as u128) >> 64) as usize
    }
}

/// Mixes 64 bits so that each output bit depends on every input bit (the finaliser of splitmix64).
pub const fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let (mut a, mut b) = (Chance::from_seed(7), Chance::from_seed(7));
        assert!((0..100).all(|_| a.next_u64() == b.next_u64()));
        assert_ne!(Chance::from_seed(8).next_u64(), Chance::from_seed(7).next_u64());
    }

    #[test]
    fn numbers_stay_in_their_range_and_fill_it() {
        let mut chance = Chance::from_seed(1);
        let mut seen = [0u32; 10];
        for _ in 0..10_000 {
            seen[chance.below(10)] += 1;
            assert!((0.0..1.0).contains(&chance.unit()));
        }
        assert!(seen.iter().all(|&count| (900..1100).contains(&count)), "{seen:?}");
        assert_eq!(chance.below(0), 0);
    }
}
