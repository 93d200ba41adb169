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
    /// The mean time from the first token to the last, for each token after the first, in seconds.
    pub tpot_mean_s: f64,
    /// The 99th percentile over requests.
    pub tpot_p99_s: f64,
    /// The mean time from arrival to the last token, in seconds. A request that did not end counts until the run's end.
    pub e2e_mean_s: f64,
    /// The 99th percentile.
    pub e2e_p99_s: f64,
    /// The share of requests within the limits of [`TTFT_LIMIT`] and [`TPOT_LIMIT`].
    pub goodput: f64,
    /// How uneven requests (running and waiting) are over engines: standard deviation by mean, averaged over the run.
    pub load_cov: f64,
    /// Requests on the engine that has most, by the mean of all; both are means over the run.
    pub longest_by_mean: f64,
    /// The work that the engines did, as a share of what they could have done.
    pub work: f64,
    /// How uneven that work is over engines: standard deviation by mean.
    pub work_cov: f64,
    /// How often an engine took a request's blocks away for others.
    pub preemptions: u64,
    /// The share of requests for which all replicas decide alike, asked under load; `None` without schedulers.
    pub agreement: Option<f64>,
    /// The same, asked after a second without arrivals.
    pub agreement_quiet: Option<f64>,
    /// The same, asked a second after the last request has ended: all have received the same.
    pub agreement_equal: Option<f64>,
    /// The traffic of the lanes; empty without peers.
    pub lanes: BTreeMap<&'static str, LaneReport>,
}

/// A request is good if its first token comes within this time, and a second more for each 10,000 tokens of its prompt,
/// and if its other tokens come within [`TPOT_LIMIT`] each, in the mean.
pub const TTFT_LIMIT: Duration = Duration::from_secs(2);
/// Tokens of a prompt that are granted a second more.
const TTFT_TOKENS_PER_S: f64 = 10_000.0;
/// See [`TTFT_LIMIT`].
pub const TPOT_LIMIT: Duration = Duration::from_millis(50);

/// Standard deviation by mean; `None` where the mean is zero.
pub fn coefficient_of_variation(values: &[f64]) -> Option<f64> {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len().max(1) as f64;
    (mean > 0.0).then(|| variance.sqrt() / mean)
}

fn longest_by_mean(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    values.iter().copied().fold(0.0, f64::max) / mean.max(f64::MIN_POSITIVE)
}

/// The counts of a run.
#[derive(Debug)]
pub struct Tally {
    times: Vec<RequestTimes>,
    prompt_tokens: u64,
    cached_tokens: u64,
    cov: Mean,
    /// Requests on each engine, summed over all samples.
    loads: Vec<f64>,
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
    ended: Option<Timestamp>,
    prompt: u64,
    answer: u64,
}

/// Times in ascending order.
struct Spread {
    sorted: Vec<Duration>,
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
            loads: Vec::new(),
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
        (self.times[request].first_token, self.times[request].prompt) = (Some(at), prompt);
        self.prompt_tokens += prompt;
        self.cached_tokens += cached;
    }

    /// The last of `answer` tokens came back.
    pub fn finished(&mut self, request: usize, answer: u64, at: Timestamp) {
        (self.times[request].ended, self.times[request].answer) = (Some(at), answer);
        self.finished += 1;
    }

    /// Whether all requests have ended.
    pub fn all_finished(&self) -> bool {
        self.finished == self.times.len()
    }

    /// Adds a sample: the requests on each engine at one moment.
    pub fn loads(&mut self, loads: impl Iterator<Item = usize>) {
        let loads: Vec<f64> = loads.map(|load| load as f64).collect();
        self.loads.resize(loads.len(), 0.0);
        self.loads.iter_mut().zip(&loads).for_each(|(sum, load)| *sum += load);
        coefficient_of_variation(&loads).into_iter().for_each(|cov| self.cov.add(cov));
    }

    /// Adds a request that all replicas were asked about, and whether they agreed.
    pub fn asked(&mut self, agreed: bool, when: When) {
        self.agreed[when as usize].add(f64::from(u8::from(agreed)));
    }

    /// The results at the run's end, but for those of engines and lanes.
    pub fn outcome(&self, end: Timestamp) -> Outcome {
        let arrived = || self.times.iter().filter_map(|times| times.arrived.map(|arrived| (arrived, times)));
        let ttft = Spread::of(arrived().map(|(at, times)| times.first_token.unwrap_or(end).since(at)));
        let e2e = Spread::of(arrived().map(|(at, times)| times.ended.unwrap_or(end).since(at)));
        let tpot = Spread::of(self.times.iter().filter_map(RequestTimes::tpot));
        let good = self.times.iter().filter(|times| times.is_good()).count();
        Outcome {
            requests: self.times.len(),
            unfinished: self.times.len() - self.finished,
            hit: self.cached_tokens as f64 / self.prompt_tokens.max(1) as f64,
            ttft_mean_s: ttft.mean(),
            ttft_p50_s: ttft.at(0.50),
            ttft_p99_s: ttft.at(0.99),
            tpot_mean_s: tpot.mean(),
            tpot_p99_s: tpot.at(0.99),
            e2e_mean_s: e2e.mean(),
            e2e_p99_s: e2e.at(0.99),
            goodput: good as f64 / self.times.len().max(1) as f64,
            load_cov: self.cov.value().unwrap_or(0.0),
            longest_by_mean: longest_by_mean(&self.loads),
            agreement: self.agreed[When::Loaded as usize].value(),
            agreement_quiet: self.agreed[When::Quiet as usize].value(),
            agreement_equal: self.agreed[When::Over as usize].value(),
            ..Outcome::default()
        }
    }
}

// === impl RequestTimes ===

impl RequestTimes {
    /// The time for each token after the first; `None` where there is none.
    fn tpot(&self) -> Option<Duration> {
        let (first, ended) = self.first_token.zip(self.ended)?;
        let tokens = u32::try_from(self.answer.checked_sub(1)?).ok().filter(|tokens| *tokens > 0)?;
        Some(ended.since(first) / tokens)
    }

    fn is_good(&self) -> bool {
        let Some((arrived, first)) = self.arrived.zip(self.first_token) else { return false };
        let limit = TTFT_LIMIT + Duration::from_secs_f64(self.prompt as f64 / TTFT_TOKENS_PER_S);
        self.ended.is_some() && first.since(arrived) <= limit && self.tpot().is_none_or(|tpot| tpot <= TPOT_LIMIT)
    }
}

// === impl Spread ===

impl Spread {
    fn of(times: impl Iterator<Item = Duration>) -> Self {
        let mut sorted: Vec<Duration> = times.collect();
        sorted.sort_unstable();
        Self { sorted }
    }

    fn mean(&self) -> f64 {
        self.sorted.iter().map(Duration::as_secs_f64).sum::<f64>() / self.sorted.len().max(1) as f64
    }

    fn at(&self, share: f64) -> f64 {
        let place = ((self.sorted.len() as f64 * share).ceil() as usize).clamp(1, self.sorted.len().max(1)) - 1;
        self.sorted.get(place).map_or(0.0, Duration::as_secs_f64)
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
        tally.finished(0, 11, Timestamp::from_millis(2000));
        let outcome = tally.outcome(Timestamp::from_millis(5000));
        assert_eq!((outcome.hit, outcome.ttft_mean_s, outcome.ttft_p99_s), (0.4, 1.75, 3.0));
        assert_eq!((outcome.unfinished, outcome.agreement), (1, None));
        assert_eq!((outcome.tpot_mean_s, outcome.e2e_mean_s, outcome.goodput), (0.05, 2.0, 0.5));
    }

    #[test]
    fn even_loads_have_no_deviation() {
        let mut tally = Tally::new(0);
        tally.loads([3, 3].into_iter());
        tally.loads([0, 2].into_iter());
        tally.loads([0, 0].into_iter());
        assert_eq!(tally.outcome(Timestamp::ZERO).load_cov, 0.5);
    }
}
