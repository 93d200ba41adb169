//! What a picker is measured against: a mean time to the first token that none can reach, and an ideal one.
//!
//! Must not know replicas or schedulers.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use serde::Serialize;

use super::tempo::Tempo;
use super::trace::{ID_TOKENS, Recorded};
use murmuration_engine_sim::EngineConfig;

/// Mean times to the first token, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Bounds {
    /// Nobody waits, and all engines have one cache that forgets nothing: strictly below what is possible.
    pub alone_s: f64,
    /// One queue before all engines, and the same cache: what a picker would do that keeps requests back until an
    /// engine is free. No bound: engines that compute several short prompts in one step can be faster.
    pub central_s: f64,
}

/// Both for this traffic.
pub fn of(engine: &EngineConfig, engines: usize, trace: &[Recorded], tempo: &Tempo) -> Bounds {
    let mut seen = BTreeSet::new();
    let mut free: BinaryHeap<Reverse<u64>> = (0..engines.max(1)).map(|_| Reverse(0)).collect();
    let (mut alone, mut central) = (0.0, 0.0);
    for &(at, request) in &tempo.arrivals {
        let Recorded { input_length, hash_ids, .. } = &trace[request];
        let cached = hash_ids.iter().take_while(|id| seen.contains(*id)).count() as u64 * ID_TOKENS;
        seen.extend(hash_ids.iter().copied());
        let computed = input_length.saturating_sub(cached).max(1) as f64;
        let steps = (computed / engine.max_num_batched_tokens as f64).ceil();
        let depth = *input_length as f64 - computed / 2.0;
        let compute = computed * (1.0 / engine.prefill_tokens_per_s + depth * engine.attention_ns * 1e-9)
            + steps * engine.step_base.as_secs_f64();
        alone += compute;
        let Reverse(begin) = free.pop().unwrap_or_default();
        let end = begin.max(at.as_micros()) + (compute * 1e6) as u64;
        free.push(Reverse(end));
        central += (end - at.as_micros()) as f64 / 1e6;
    }
    let count = tempo.arrivals.len().max(1) as f64;
    Bounds { alone_s: alone / count, central_s: central / count }
}

// === impl Bounds ===

impl Bounds {
    /// The means of several.
    pub fn mean(all: &[Self]) -> Self {
        let mean = |value: fn(&Self) -> f64| all.iter().map(value).sum::<f64>() / all.len().max(1) as f64;
        Self { alone_s: mean(|one| one.alone_s), central_s: mean(|one| one.central_s) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace_replay::plan::usual;

    /// Two prompts of two ids, the second the same but for its last id, at one moment before one engine.
    #[test]
    fn a_prompt_seen_before_is_cached_and_who_comes_second_waits() {
        let recorded = |hash_ids: &[u64]| Recorded {
            timestamp: 0.0,
            input_length: ID_TOKENS * 2,
            output_length: 1,
            hash_ids: hash_ids.to_vec(),
        };
        let trace = [recorded(&[1, 2]), recorded(&[1, 3])];
        let engine = EngineConfig { attention_ns: 0.0, ..usual().engine };
        let Bounds { alone_s, central_s } = of(&engine, 1, &trace, &Tempo::new(&trace, 1.0, false, 1));
        let (first, second) = (0.1024 + 0.012, 0.0512 + 0.012);
        assert!((alone_s - (first + second) / 2.0).abs() < 1e-5, "{alone_s}");
        assert!((central_s - (first + first + second) / 2.0).abs() < 1e-5, "{central_s}");
    }
}
