//! The results of a run.
//!
//! Must not know how a run works.

use std::collections::BTreeMap;
use std::time::Duration;

use murmuration::time::Timestamp;
use serde::Serialize;

use super::ages::LaneReport;

/// The results of a run. The same plan and requests give the same outcome, to the last bit.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// Requests that arrived.
    pub requests: usize,
    /// Requests among them that were refused, or unfinished when the run was stopped.
    pub unfinished: usize,
    /// The share of prompt tokens found in the engines' own caches.
    pub hit: f64,
    /// The mean time to the first token, in seconds. A request without one counts until the run's end.
    pub ttft_mean_s: f64,
    /// The median.
    pub ttft_p50_s: f64,
    /// The 99th percentile.
    pub ttft_p99_s: f64,
    /// How uneven requests (running and waiting) are over engines: standard deviation by mean, averaged over the run.
    pub load_cov: f64,
    /// The work that the engines did, as a share of what they could have done.
    pub work: f64,
    /// The share of requests for which all replicas decide alike, asked under load; `None` without schedulers.
    pub agreement: Option<f64>,
    /// The same, asked after a second without arrivals.
    pub agreement_quiet: Option<f64>,
    /// The same, asked a second after the last request has ended: all have received the same.
    pub agreement_equal: Option<f64>,
    /// The traffic of the lanes; empty without peers.
    pub lanes: BTreeMap<&'static str, LaneReport>,
}

/// The counts of a run.
#[derive(Debug)]
pub struct Tally {
    times: Vec<RequestTimes>,
    prompt_tokens: u64,
    cached_tokens: u64,
    cov: Mean,
    agreed: [Mean; 3],
    finished: usize,
}

/// When all replicas are asked the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Under load.
    Loaded,
    /// After a second without arrivals.
    Quiet,
    /// A second after the last request has ended.
    Over,
}

#[derive(Clone, Copy, Debug, Default)]
struct RequestTimes {
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
    /// Empty counts for `requests` requests.
    pub fn new(requests: usize) -> Self {
        Self {
            times: vec![RequestTimes::default(); requests],
            prompt_tokens: 0,
            cached_tokens: 0,
            cov: Mean::default(),
            agreed: Default::default(),
            finished: 0,
        }
    }

    /// A request arrived.
    pub fn arrived(&mut self, request: usize, at: Timestamp) {
        self.times[request].arrived = Some(at);
    }

    /// Its first token came back; its prompt had `prompt` tokens, `cached` of them in the engine's cache.
    pub fn first_token(&mut self, request: usize, prompt: u64, cached: u64, at: Timestamp) {
        self.times[request].first_token = Some(at);
        self.prompt_tokens += prompt;
        self.cached_tokens += cached;
    }

    /// A request has ended.
    pub fn finished(&mut self) {
        self.finished += 1;
    }

    /// Whether all requests have ended.
    pub fn all_finished(&self) -> bool {
        self.finished == self.times.len()
    }

    /// Adds a sample: the requests on each engine at one moment.
    pub fn loads(&mut self, loads: impl Iterator<Item = usize>) {
        let loads: Vec<f64> = loads.map(|load| load as f64).collect();
        let mean = loads.iter().sum::<f64>() / loads.len().max(1) as f64;
        if mean > 0.0 {
            let variance = loads.iter().map(|load| (load - mean).powi(2)).sum::<f64>() / loads.len() as f64;
            self.cov.add(variance.sqrt() / mean);
        }
    }

    /// Adds a request that all replicas were asked about, and whether they agreed.
    pub fn asked(&mut self, agreed: bool, when: When) {
        self.agreed[when as usize].add(f64::from(u8::from(agreed)));
    }

    /// The results at the run's end; the caller computes `work` and `lanes`.
    pub fn outcome(&self, end: Timestamp, work: f64, lanes: BTreeMap<&'static str, LaneReport>) -> Outcome {
        let mut waits: Vec<Duration> = self
            .times
            .iter()
            .filter_map(|request| request.arrived.map(|arrived| request.first_token.unwrap_or(end).since(arrived)))
            .collect();
        waits.sort_unstable();
        let at = |share: f64| {
            let place = ((waits.len() as f64 * share).ceil() as usize).clamp(1, waits.len().max(1)) - 1;
            waits.get(place).map_or(0.0, Duration::as_secs_f64)
        };
        Outcome {
            requests: self.times.len(),
            unfinished: self.times.len() - self.finished,
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

    /// Prompt tokens that were computed.
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
