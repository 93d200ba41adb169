//! The clients' dice.
//!
//! Must not know what is thrown for.

use std::time::Duration;

use murmuration::chance::{Chance, mix};

/// The dice of a plan's clients.
pub(super) fn of(seed: u64) -> Chance {
    Chance::from_seed(mix(seed ^ 0x636c_6965_6e74))
}

/// From one request to the next, at `rate` a second without memory.
pub(super) fn gap(chance: &mut Chance, rate: f64) -> Duration {
    Duration::from_secs_f64((-(1.0 - chance.unit()).ln() / rate.max(0.001)).clamp(1e-6, 3_600.0))
}

/// Some of `count`, at least one, in order.
pub(super) fn some(chance: &mut Chance, count: usize) -> Vec<usize> {
    let mut some: Vec<usize> = (0..count).filter(|_| chance.unit() < 0.5).collect();
    if some.is_empty() {
        some.push(chance.below(count));
    }
    some
}
