//! Random numbers of the clients.
//!
//! Must not know what they decide.

use std::time::Duration;

use murmuration::chance::{Chance, mix};

/// The generator of the clients, from the plan's seed.
pub(super) fn of(seed: u64) -> Chance {
    Chance::from_seed(mix(seed ^ 0x636c_6965_6e74))
}

/// The time between two requests of a Poisson process with `rate` requests per second.
pub(super) fn gap(chance: &mut Chance, rate: f64) -> Duration {
    Duration::from_secs_f64((-(1.0 - chance.unit()).ln() / rate.max(0.001)).clamp(1e-6, 3_600.0))
}

/// A random subset of `0..count` with at least one member, in order.
pub(super) fn some(chance: &mut Chance, count: usize) -> Vec<usize> {
    let mut some: Vec<usize> = (0..count).filter(|_| chance.unit() < 0.5).collect();
    if some.is_empty() {
        some.push(chance.below(count));
    }
    some
}
