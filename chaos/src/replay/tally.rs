//! What a run came to.
//!
//! Must not know how it came to it.

use std::collections::BTreeMap;
use std::time::Duration;

use murmuration::time::Timestamp;
use serde::Serialize;

use super::ages::LaneReport;

/// What a run came to. The same plan and requests give the same outcome, to the last bit.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// Requests that came.
    pub requests: usize,
    /// Requests among them that had no end when the run was given up, or were refused.
    pub unfinished: usize,
    /// Prompt tokens found in the engines' own caches, of all.
    pub hit: f64,
    /// The mean time to the first token, in seconds. A request without one counts until the run's end.
    pub ttft_mean_s: f64,
    /// The median.
    pub ttft_p50_s: f64,
    /// What one in a hundred exceeds.
    pub ttft_p99_s: f64,
    /// How uneven requests (running and waiting) are over engines: standard deviation by mean, averaged over the run.
    pub load_cov: f64,
    /// The share of what the engines could have computed that they did compute.
    pub work: f64,
    /// The share of questions that all replicas answer alike, asked in the middle of everything; `None` without minds.
    pub agreement: Option<f64>,
    /// The same, asked after a second without arrivals.
    pub agreement_quiet: Option<f64>,
    /// The same, asked a second after everything is over: all have heard the same.
    pub agreement_equal: Option<f64>,
    /// What the lanes did; empty where there is nobody to tell.
    pub lanes: BTreeMap<&'static str, LaneReport>,
}

/// The books of a run.
#[derive(Debug)]
pub struct Tally {
    fates: Vec<Fate>,
    prompt_tokens: u64,
    cached_tokens: u64,
    cov: Mean,
    agreed: [Mean; 3],
    finished: usize,
}

/// When all replicas are asked the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// In the middle of everything.
    Loaded,
    /// After a second without arrivals.
    Quiet,
    /// A second after everything is over.
    Over,
}

#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    arrived: Option<Timestamp>,
    first_token: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    count: u64,
}

// === impl Tally ===

impl Tally {
    /// Books for `requests` requests.
    pub fn new(requests: usize) -> Self {
        Self {
            fates: vec![Fate::default(); requests],
            prompt_tokens: 0,
            cached_tokens: 0,
            cov: Mean::default(),
            agreed: Default::default(),
            finished: 0,
        }
    }

    /// A request came.
    pub fn arrived(&mut self, request: usize, at: Timestamp) {
        self.fates[request].arrived = Some(at);
    }

    /// Its first token came back; its prompt had `prompt` tokens, `cached` of them in the engine's cache.
    pub fn first_token(&mut self, request: usize, prompt: u64, cached: u64, at: Timestamp) {
        self.fates[request].first_token = Some(at);
        self.prompt_tokens += prompt;
        self.cached_tokens += cached;
    }

    /// A request is over.
    pub fn finished(&mut self) {
        self.finished += 1;
    }

    /// Whether all are.
    pub fn all_finished(&self) -> bool {
        self.finished == self.fates.len()
    }

    /// Requests on each engine at some moment.
    pub fn loads(&mut self, loads: impl Iterator<Item = usize>) {
        let loads: Vec<f64> = loads.map(|load| load as f64).collect();
        let mean = loads.iter().sum::<f64>() / loads.len().max(1) as f64;
        if mean > 0.0 {
            let variance = loads.iter().map(|load| (load - mean).powi(2)).sum::<f64>() / loads.len() as f64;
            self.cov.add(variance.sqrt() / mean);
        }
    }

    /// All replicas were asked the same.
    pub fn asked(&mut self, agreed: bool, when: When) {
        self.agreed[when as usize].add(f64::from(u8::from(agreed)));
    }

    /// The sum of it, at the run's end; `work` and `lanes` are known to others.
    pub fn outcome(&self, end: Timestamp, work: f64, lanes: BTreeMap<&'static str, LaneReport>) -> Outcome {
        let mut waits: Vec<Duration> = self
            .fates
            .iter()
            .filter_map(|fate| fate.arrived.map(|arrived| fate.first_token.unwrap_or(end).since(arrived)))
            .collect();
        waits.sort_unstable();
        let at = |share: f64| {
            let place = ((waits.len() as f64 * share).ceil() as usize).clamp(1, waits.len().max(1)) - 1;
            waits.get(place).map_or(0.0, Duration::as_secs_f64)
        };
        Outcome {
            requests: self.fates.len(),
            unfinished: self.fates.len() - self.finished,
            hit: self.cached_tokens as f64 / self.prompt_tokens.max(1) as f64,
            ttft_mean_s: waits.iter().map(Duration::as_secs_f64).sum::<f64>() / waits.len().max(1) as f64,
            ttft_p50_s: at(0.50),
            ttft_p99_s: at(0.99),
            load_cov: self.cov.value().unwrap_or(0.0),
            work,
            agreement: self.agreed[When::Loaded as usize].value(),
            agreement_quiet: self.agreed[When::Quiet as usize].value(),
            agreement_equal: self.agreed[When::Over as usize].value(),
            lanes,
        }
    }

    /// Tokens of prompts that were computed.
    pub fn computed_tokens(&self) -> u64 {
        self.prompt_tokens - self.cached_tokens
    }
}

// === impl Mean ===

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn value(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_without_a_first_token_counts_until_the_end() {
        let mut tally = Tally::new(2);
        tally.arrived(0, Timestamp::from_millis(1000));
        tally.arrived(1, Timestamp::from_millis(2000));
        tally.first_token(0, 100, 40, Timestamp::from_millis(1500));
        tally.finished();
        let outcome = tally.outcome(Timestamp::from_millis(5000), 0.5, BTreeMap::new());
        assert_eq!((outcome.hit, outcome.ttft_mean_s, outcome.ttft_p99_s), (0.4, 1.75, 3.0));
        assert_eq!((outcome.unfinished, outcome.agreement), (1, None));
    }

    #[test]
    fn even_loads_have_no_deviation() {
        let mut tally = Tally::new(0);
        tally.loads([3, 3].into_iter());
        tally.loads([0, 2].into_iter());
        tally.loads([0, 0].into_iter());
        assert_eq!(tally.outcome(Timestamp::ZERO, 0.0, BTreeMap::new()).load_cov, 0.5);
    }
}
