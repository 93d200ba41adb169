//! How fast an engine computes prompts, as measured by the times until first tokens.
//!
//! An engine serves prompts in the order in which they came, so a first token comes once all tokens that waited at the
//! dispatch and the prompt's own are computed. Tokens and times are summed: long waits, which tell most, weigh most.
//!
//! Must not know tickets, clocks, nor which replica measured.

use std::time::Duration;

use serde::Serialize;

/// A prompt with fewer tokens to wait for tells nothing: its time is that of a step of the engine and of the network,
/// however fast the engine computes. It is one step's budget in vLLM.
pub const TOKENS_MIN: u64 = 2048;
/// Milliseconds of waiting after which older measurements lose half of their weight. It is time spent waiting and not a
/// clock's, so an idle engine keeps its speed, and what a replica measured depends on its requests alone. Engines of one
/// kind differ for a while by what they are doing; over some hundred prompts they don't. (Replayed with agents on equal
/// engines: 10 s makes their first tokens 5 to 15 % later, this 2 % at most either way.)
const MILLIS_MAX: u64 = 200_000;
/// Longer waits count as one of this length, so that one of minutes does not outweigh all others.
const WAIT_MAX: u64 = 10_000;
/// Milliseconds at the pool's speed that count as measured at each engine: some tens of first tokens outweigh it.
const PRIOR_MILLIS: f64 = 10_000.0;
/// No engine computes more prompt tokens in a millisecond. Peers' numbers are among those that wait, and what is measured
/// here is published as this replica's own.
const RATE_MAX: f64 = 1_000.0;
/// No engine counts as faster or slower than the pool by more, whatever a peer publishes.
const RATIO_MAX: f64 = 8.0;

/// Prompt tokens that were waited for, and how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PrefillSpeed {
    /// Prompt tokens, those of the prompts before included.
    pub tokens: u64,
    /// Milliseconds until they were computed.
    pub millis: u64,
}

// === impl PrefillSpeed ===

impl PrefillSpeed {
    /// Counts a first token that came `took` after its dispatch, when `tokens` waited, its own included.
    pub fn add(&mut self, tokens: u64, took: Duration) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).min(WAIT_MAX);
        if tokens < TOKENS_MIN || millis == 0 {
            return;
        }
        // A wait longer than is counted says the same of fewer tokens.
        let counted = tokens as f64 * millis as f64 / (took.as_secs_f64() * 1_000.0).max(1.0);
        let tokens = counted.min(millis as f64 * RATE_MAX) as u64;
        if self.millis + millis > MILLIS_MAX {
            (self.tokens, self.millis) = (self.tokens / 2, self.millis / 2);
        }
        self.tokens = self.tokens.saturating_add(tokens);
        self.millis += millis;
    }

    /// The sum of both.
    pub fn and(self, other: Self) -> Self {
        Self { tokens: self.tokens.saturating_add(other.tokens), millis: self.millis.saturating_add(other.millis) }
    }

    /// How much faster than the pool's mean: 1 where nothing is known, `1/8..=8`.
    pub fn against(self, pool: Self) -> f64 {
        if pool.tokens == 0 || pool.millis == 0 {
            return 1.0;
        }
        let mean = pool.tokens as f64 / pool.millis as f64;
        let own = (self.tokens as f64 + mean * PRIOR_MILLIS) / (self.millis as f64 + PRIOR_MILLIS);
        (own / mean).clamp(1.0 / RATIO_MAX, RATIO_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(first_tokens: &[(u64, u64)]) -> PrefillSpeed {
        let mut speed = PrefillSpeed::default();
        first_tokens.iter().for_each(|&(tokens, millis)| speed.add(tokens, Duration::from_millis(millis)));
        speed
    }

    #[test]
    fn an_engine_twice_as_slow_is_told_apart_by_some_tens_of_prompts() {
        let (fast, slow) = (measured(&[(20_000, 1_000); 80]), measured(&[(20_000, 2_000); 40]));
        let pool = fast.and(slow);
        let (fast, slow) = (fast.against(pool), slow.against(pool));
        assert!((1.25..1.34).contains(&fast) && (0.66..0.72).contains(&slow), "{fast} {slow}");
        assert_eq!(PrefillSpeed::default().against(pool), 1.0);
        assert_eq!(PrefillSpeed::default().against(PrefillSpeed::default()), 1.0);
        assert!(measured(&[(20_000, 2_000); 2]).against(pool) > 0.85, "two prompts are few");
    }

    #[test]
    fn short_prompts_say_nothing() {
        assert_eq!(measured(&[(2_047, 30), (100, 5), (9_000, 0)]), PrefillSpeed::default());
    }

    #[test]
    fn older_measurements_fade_and_sums_are_bounded() {
        let mut speed = measured(&[(10_000, 1_000); 1_000]);
        assert!(speed.millis <= MILLIS_MAX);
        (0..400).for_each(|_| speed.add(5_000, Duration::from_secs(1)));
        let rate = speed.tokens as f64 / speed.millis as f64;
        assert!((4.9..6.5).contains(&rate), "{rate}");
        assert_eq!(measured(&[(u64::MAX, 100); 3]), PrefillSpeed { tokens: 300_000, millis: 300 });
        assert_eq!(measured(&[(100_000, 100_000)]), PrefillSpeed { tokens: 10_000, millis: 10_000 });
        let huge = PrefillSpeed { tokens: u64::MAX, millis: 1 };
        assert_eq!(huge.and(huge).against(measured(&[(10_000, 1_000)])), 8.0);
    }
}
