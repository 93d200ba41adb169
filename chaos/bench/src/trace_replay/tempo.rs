//! When requests arrive: a trace's own pace, made faster, spread, and with a quiet second now and then.
//!
//! Must not know replicas. The work of a trace ([`Demand`]) determines which speed gives which load.

use std::collections::BTreeSet;
use std::time::Duration;

use murmuration::chance::Chance;
use murmuration::time::Timestamp;

use super::trace::{ID_TOKENS, Recorded};
use murmuration_engine_sim::EngineConfig;

/// How long no request arrives before replicas are asked whether they agree.
pub const QUIET: Duration = Duration::from_secs(1);
/// Quiet seconds in a run.
pub const QUIETS: usize = 8;
/// The span over which jitter spreads requests: the resolution of Mooncake's timestamps, in milliseconds of the trace.
const GRAIN_MS: f64 = 3000.0;

/// The work of a trace if every repeated block is still cached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    /// Seconds from the first request to the last.
    pub span_s: f64,
    /// Tokens of all prompts.
    pub prompt_tokens: f64,
    /// Tokens among them that no earlier request had.
    pub new_tokens: f64,
    /// Tokens of all answers.
    pub answer_tokens: f64,
    /// For each new prompt token, the tokens before it, summed.
    pub attended: f64,
    /// For each answer token, the tokens before it, summed.
    pub context: f64,
}

/// The arrival times of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Tempo {
    /// When each request arrives, ascending, with its index in the trace.
    pub arrivals: Vec<(Timestamp, usize)>,
    /// The ends of the quiet seconds, and the index in `arrivals` of the first request after each.
    pub quiets: Vec<(Timestamp, usize)>,
}

// === impl Demand ===

impl Demand {
    /// The work of `trace`.
    pub fn of(trace: &[Recorded]) -> Self {
        let mut seen = BTreeSet::new();
        let (mut prompt, mut new, mut answers) = (0, 0, 0);
        let (mut attended, mut context) = (0.0, 0.0);
        for request in trace {
            let fresh = request.hash_ids.iter().filter(|id| seen.insert(**id)).count() as u64;
            prompt += request.input_length;
            let computed = (fresh * ID_TOKENS).min(request.input_length);
            new += computed;
            answers += request.output_length;
            attended += computed as f64 * (request.input_length as f64 - computed as f64 / 2.0);
            context +=
                request.output_length as f64 * (request.input_length as f64 + request.output_length as f64 / 2.0);
        }
        let ends = trace.first().zip(trace.last());
        let span_s = ends.map_or(0.0, |(first, last)| (last.timestamp - first.timestamp) / 1000.0).max(0.001);
        let (prompt_tokens, new_tokens, answer_tokens) = (prompt as f64, new as f64, answers as f64);
        Self { span_s, prompt_tokens, new_tokens, answer_tokens, attended, context }
    }

    /// The share of prompt tokens that an earlier request had.
    pub fn reusable(&self) -> f64 {
        1.0 - self.new_tokens / self.prompt_tokens.max(1.0)
    }

    /// The load on `engines` engines at `speed` times the trace's pace: 1 is all that they can compute.
    pub fn load(&self, engine: &EngineConfig, engines: usize, speed: f64) -> f64 {
        let prefill = self.new_tokens / engine.prefill_tokens_per_s + self.attended * engine.attention_ns * 1e-9;
        let decode = self.answer_tokens * engine.step_per_seq.as_secs_f64() + self.context * engine.context_ns * 1e-9;
        speed * (prefill + decode) / (self.span_s * engines.max(1) as f64)
    }

    /// The speed at which the load is `load`.
    pub fn speed(&self, engine: &EngineConfig, engines: usize, load: f64) -> f64 {
        load / self.load(engine, engines, 1.0).max(f64::MIN_POSITIVE)
    }
}

// === impl Tempo ===

impl Tempo {
    /// The arrival times of `trace` at `speed` times its pace. `jitter` spreads requests that were recorded at one
    /// instant; without it they arrive together, as they were recorded.
    pub fn new(trace: &[Recorded], speed: f64, jitter: bool, seed: u64) -> Self {
        let mut chance = Chance::from_seed(seed ^ 0x6a69_7474_6572);
        let begin = trace.first().map_or(0.0, |first| first.timestamp);
        let mut at: Vec<(f64, usize)> = trace
            .iter()
            .enumerate()
            .map(|(i, request)| {
                let spread = if jitter { chance.unit() * GRAIN_MS } else { 0.0 };
                ((request.timestamp - begin + spread) / speed, i)
            })
            .collect();
        at.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let last = at.last().map_or(0.0, |last| last.0);
        let borders: Vec<f64> = (1..=QUIETS).map(|n| last * n as f64 / (QUIETS + 1) as f64).collect();
        let (mut arrivals, mut quiets) = (Vec::with_capacity(at.len()), Vec::new());
        for (millis, request) in at {
            while quiets.len() < QUIETS && millis > borders[quiets.len()] {
                let end = moment(borders[quiets.len()]) + QUIET * (quiets.len() as u32 + 1);
                quiets.push((end - Duration::from_micros(1), arrivals.len()));
            }
            arrivals.push((moment(millis) + QUIET * quiets.len() as u32, request));
        }
        Self { arrivals, quiets }
    }
}

/// Arrivals begin after a second, in which replicas learn of their engines.
fn moment(millis: f64) -> Timestamp {
    Timestamp::from_micros(1_000_000 + (millis * 1000.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(times: &[f64]) -> Vec<Recorded> {
        let one = |&timestamp| Recorded { timestamp, input_length: 600, output_length: 10, hash_ids: vec![1, 2] };
        times.iter().map(one).collect()
    }

    #[test]
    fn no_request_arrives_in_the_quiet_seconds() {
        let times: Vec<f64> = (0..1000).map(|n| f64::from(n) * 100.0).collect();
        let tempo = Tempo::new(&trace(&times), 2.0, true, 1);
        assert_eq!((tempo.arrivals.len(), tempo.quiets.len()), (1000, QUIETS));
        for &(end, next) in &tempo.quiets {
            assert!(
                tempo.arrivals[next].0 > end && tempo.arrivals[next - 1].0 + QUIET <= end + Duration::from_micros(2)
            );
        }
        assert!(tempo.arrivals.is_sorted());
    }

    #[test]
    fn verbatim_keeps_bursts_and_jitter_breaks_them() {
        let burst = trace(&[0.0, 5000.0, 5000.0, 5000.0]);
        let distinct = |jitter| {
            let tempo = Tempo::new(&burst, 1.0, jitter, 1);
            tempo.arrivals.iter().map(|(at, _)| *at).collect::<BTreeSet<_>>().len()
        };
        assert_eq!((distinct(false), distinct(true)), (2, 4));
    }

    #[test]
    fn load_and_speed_are_each_others_inverse() {
        let (demand, engine) = (Demand::of(&trace(&[0.0, 1000.0])), EngineConfig::default());
        assert_eq!((demand.prompt_tokens, demand.new_tokens, demand.span_s), (1200.0, 600.0, 1.0));
        let speed = demand.speed(&engine, 4, 0.66);
        assert!((demand.load(&engine, 4, speed) - 0.66).abs() < 1e-9);
    }
}
