//! What an engine counts beside its model: the times and sizes of requests, the sets of adapters in use, and the
//! responses of its web server.
//!
//! Must not know clocks, or how the page is written.

use std::collections::BTreeMap;
use std::time::Duration;

use murmuration::time::Timestamp;

use super::histogram::Histogram;
use super::page;
use crate::model::{Gauges, Output};

/// Sets of adapters that are kept. A real engine keeps all of them for ever.
const ADAPTER_SETS_MAX: usize = 256;

/// The histogram of responses by route; what `histograms` has under its name stays empty.
const COARSE: &str = "http_request_duration_seconds";

/// A request that the model has.
#[derive(Clone, Debug)]
pub(super) struct Open {
    /// When it arrived.
    pub(super) submitted: Timestamp,
    pub(super) prompt_tokens: usize,
    pub(super) max_tokens: usize,
    /// Whether its answer ends by itself (`stop`), not at the client's bound (`length`).
    pub(super) natural: bool,
    /// The request's `n`: answers to each prompt.
    pub(super) n: usize,
    first: Option<Timestamp>,
    last: Timestamp,
}

/// One response of the web server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Answered {
    /// The route, or `none`.
    pub(super) handler: &'static str,
    pub(super) method: &'static str,
    pub(super) status: u16,
    /// From the header Content-Length.
    pub(super) request_bytes: u64,
    /// The exact size of the body; 0 for a stream.
    pub(super) response_bytes: u64,
    /// Seconds until the response began.
    pub(super) seconds: f64,
}

/// Totals of one route's responses.
#[derive(Clone, Debug)]
pub(super) struct Handled {
    pub(super) count: u64,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
}

/// Everything that is counted.
#[derive(Clone, Debug)]
pub(super) struct Meters {
    pub(super) stopped: u64,
    pub(super) at_length: u64,
    /// The histograms of the page that have one series, by their family's name.
    pub(super) histograms: BTreeMap<&'static str, Histogram>,
    /// Pairs of running and waiting adapters, and when each pair was last seen.
    pub(super) adapter_sets: BTreeMap<(String, String), Timestamp>,
    /// Responses by handler, method and class of status.
    pub(super) http_requests: BTreeMap<(&'static str, &'static str, &'static str), u64>,
    pub(super) http_sizes: BTreeMap<&'static str, Handled>,
    pub(super) http_coarse: BTreeMap<(&'static str, &'static str), Histogram>,
    /// Whether the engine has a KV connector.
    pub(super) has_connector: bool,
    /// Requests that wait for KV of another engine.
    pub(super) loading: usize,
    /// Blocks that are kept for other engines.
    pub(super) kept_blocks: usize,
}

// === impl Open ===

impl Open {
    pub(super) fn new(submitted: Timestamp, prompt_tokens: usize, max_tokens: usize, natural: bool, n: usize) -> Self {
        Self { submitted, prompt_tokens, max_tokens, natural, n, first: None, last: submitted }
    }
}

// === impl Meters ===

impl Meters {
    pub(super) fn new() -> Self {
        let histograms = page::histograms().map(|(name, bounds)| (name, Histogram::new(bounds)));
        Self {
            stopped: 0,
            at_length: 0,
            histograms: histograms.collect(),
            adapter_sets: BTreeMap::new(),
            http_requests: BTreeMap::new(),
            http_sizes: BTreeMap::new(),
            http_coarse: BTreeMap::new(),
            has_connector: false,
            loading: 0,
            kept_blocks: 0,
        }
    }

    /// Counts `value` in a histogram of the page.
    pub(super) fn observe(&mut self, name: &str, value: f64) {
        if let Some(histogram) = self.histograms.get_mut(name) {
            histogram.observe(value);
        }
    }

    /// Counts a token of `open`'s answer.
    pub(super) fn token(&mut self, open: &mut Open, output: &Output) {
        match open.first {
            None => {
                open.first = Some(output.at);
                self.observe("vllm:time_to_first_token_seconds", seconds(output.at.since(open.submitted)));
            }
            Some(_) => self.observe("vllm:inter_token_latency_seconds", seconds(output.at.since(open.last))),
        }
        open.last = output.at;
        if output.finished {
            self.request(open, output);
        }
    }

    /// Counts a request that finished with `last`.
    fn request(&mut self, open: &Open, last: &Output) {
        let first = open.first.unwrap_or(last.at);
        let answer = last.index + 1;
        if open.natural {
            self.stopped += 1;
        } else {
            self.at_length += 1;
        }
        self.observe("vllm:request_prompt_tokens", open.prompt_tokens as f64);
        self.observe("vllm:request_generation_tokens", answer as f64);
        self.observe("vllm:request_max_num_generation_tokens", answer as f64);
        self.observe("vllm:request_params_n", open.n as f64);
        self.observe("vllm:request_params_max_tokens", open.max_tokens as f64);
        self.observe("vllm:e2e_request_latency_seconds", seconds(last.at.since(open.submitted)));
        self.observe("vllm:request_queue_time_seconds", seconds(last.admitted.since(open.submitted)));
        self.observe("vllm:request_inference_time_seconds", seconds(last.at.since(last.admitted)));
        self.observe("vllm:request_prefill_time_seconds", seconds(first.since(last.admitted)));
        self.observe("vllm:request_decode_time_seconds", seconds(last.at.since(first)));
        self.observe("vllm:request_num_preemptions", f64::from(last.preemptions));
        self.observe(
            "vllm:request_prefill_kv_computed_tokens",
            open.prompt_tokens.saturating_sub(last.cached_tokens) as f64,
        );
        // As in a real engine, an answer of one token counts as 0 seconds per output token.
        let between = if answer > 1 { seconds(last.at.since(first)) / (answer - 1) as f64 } else { 0.0 };
        self.observe("vllm:request_time_per_output_token_seconds", between);
    }

    /// Records the adapters that run and wait now.
    pub(super) fn adapters(&mut self, gauges: &Gauges, now: Timestamp) {
        let set = (gauges.running_adapters.join(","), gauges.waiting_adapters.join(","));
        self.adapter_sets.insert(set, now);
        if self.adapter_sets.len() > ADAPTER_SETS_MAX
            && let Some(oldest) = self.adapter_sets.iter().min_by_key(|(_, at)| **at).map(|(set, _)| set.clone())
        {
            self.adapter_sets.remove(&oldest);
        }
    }

    /// Counts a response of the web server.
    pub(super) fn answered(&mut self, answered: Answered) {
        let Answered { handler, method, status, request_bytes, response_bytes, seconds } = answered;
        let class = match status / 100 {
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        *self.http_requests.entry((handler, method, class)).or_default() += 1;
        let nothing = Handled { count: 0, request_bytes: 0, response_bytes: 0 };
        let handled = self.http_sizes.entry(handler).or_insert(nothing);
        handled.count += 1;
        handled.request_bytes += request_bytes;
        handled.response_bytes += response_bytes;
        self.observe("http_request_duration_highr_seconds", seconds);
        if let Some(empty) = self.histograms.get(COARSE) {
            self.http_coarse.entry((handler, method)).or_insert_with(|| empty.clone()).observe(seconds);
        }
    }
}

fn seconds(span: Duration) -> f64 {
    span.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phases_of_a_request_add_up_to_its_time() {
        let (mut meters, at) = (Meters::new(), Timestamp::from_millis);
        let mut open = Open::new(at(100), 50, 3, false, 1);
        for (index, when) in [(0, 400), (1, 450), (2, 550)] {
            let (cached_tokens, finished) = (16, index == 2);
            let output = Output {
                id: 1,
                at: at(when),
                admitted: at(200),
                token: 0,
                index,
                cached_tokens,
                preemptions: 0,
                finished,
            };
            meters.token(&mut open, &output);
        }
        let close = |name: &str, sum: f64| (meters.histograms[&*format!("vllm:{name}")].sum() - sum).abs() < 1e-9;
        assert!(
            close("time_to_first_token_seconds", 0.3)
                && close("inter_token_latency_seconds", 0.15)
                && close("e2e_request_latency_seconds", 0.45)
        );
        assert!(
            close("request_queue_time_seconds", 0.1)
                && close("request_prefill_time_seconds", 0.2)
                && close("request_decode_time_seconds", 0.15)
        );
        assert!(close("request_inference_time_seconds", 0.35) && close("request_time_per_output_token_seconds", 0.075));
        assert!(close("request_prefill_kv_computed_tokens", 34.0));
        assert_eq!(
            (meters.at_length, meters.stopped, meters.histograms["vllm:inter_token_latency_seconds"].count()),
            (1, 0, 2)
        );
    }

    #[test]
    fn adapter_sets_are_bounded_and_the_oldest_is_dropped() {
        let mut meters = Meters::new();
        for i in 0..=ADAPTER_SETS_MAX as u64 {
            let gauges = Gauges { running_adapters: vec![format!("a{i}")], ..Gauges::default() };
            meters.adapters(&gauges, Timestamp::from_millis(i));
        }
        assert_eq!(meters.adapter_sets.len(), ADAPTER_SETS_MAX);
        assert!(!meters.adapter_sets.contains_key(&("a0".to_owned(), String::new())));
    }
}
