//! What an engine counts beside its model: the times and sizes of requests, the sets of adapters in use, and the
//! responses of its web server.
//!
//! Must not know clocks or the page.

use std::collections::BTreeMap;
use std::time::Duration;

use murmuration::time::Timestamp;

use super::histogram::Histogram;
use crate::model::{Gauges, Output};

/// Sets of adapters that are kept. A real engine keeps all of them for ever.
const ADAPTER_SETS_MAX: usize = 256;

const TOKENS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0];
const STEP_TOKENS: &[f64] =
    &[1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16_384.0];
const ANSWERS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0];
const FIRST_TOKEN: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    160.0, 640.0, 2560.0,
];
const NEXT_TOKEN: &[f64] =
    &[0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0];
const PHASE: &[f64] = &[
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
    1920.0, 7680.0,
];
const PREEMPTIONS: &[f64] = &[1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0];
const HTTP_FINE: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 7.5, 10.0, 30.0, 60.0,
];
const HTTP_COARSE: &[f64] = &[0.1, 0.5, 1.0];

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
    pub(super) prompt_tokens: Histogram,
    pub(super) generation_tokens: Histogram,
    pub(super) step_tokens: Histogram,
    pub(super) max_generation_tokens: Histogram,
    pub(super) n: Histogram,
    pub(super) max_tokens: Histogram,
    pub(super) first_token: Histogram,
    pub(super) next_token: Histogram,
    pub(super) per_output_token: Histogram,
    pub(super) e2e: Histogram,
    pub(super) queue: Histogram,
    pub(super) inference: Histogram,
    pub(super) prefill: Histogram,
    pub(super) decode: Histogram,
    pub(super) preemptions: Histogram,
    pub(super) prefill_computed: Histogram,
    /// Pairs of running and waiting adapters, and when each pair was last seen.
    pub(super) adapter_sets: BTreeMap<(String, String), Timestamp>,
    /// Responses by handler, method and class of status.
    pub(super) http_requests: BTreeMap<(&'static str, &'static str, &'static str), u64>,
    pub(super) http_sizes: BTreeMap<&'static str, Handled>,
    pub(super) http_fine: Histogram,
    pub(super) http_coarse: BTreeMap<(&'static str, &'static str), Histogram>,
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
        let tokens = || Histogram::new(TOKENS);
        let phase = || Histogram::new(PHASE);
        Self {
            stopped: 0,
            at_length: 0,
            prompt_tokens: tokens(),
            generation_tokens: tokens(),
            step_tokens: Histogram::new(STEP_TOKENS),
            max_generation_tokens: tokens(),
            n: Histogram::new(ANSWERS),
            max_tokens: tokens(),
            first_token: Histogram::new(FIRST_TOKEN),
            next_token: Histogram::new(NEXT_TOKEN),
            per_output_token: Histogram::new(NEXT_TOKEN),
            e2e: phase(),
            queue: phase(),
            inference: phase(),
            prefill: phase(),
            decode: phase(),
            preemptions: Histogram::new(PREEMPTIONS),
            prefill_computed: tokens(),
            adapter_sets: BTreeMap::new(),
            http_requests: BTreeMap::new(),
            http_sizes: BTreeMap::new(),
            http_fine: Histogram::new(HTTP_FINE),
            http_coarse: BTreeMap::new(),
        }
    }

    /// Counts a token of `open`'s answer.
    pub(super) fn token(&mut self, open: &mut Open, output: &Output) {
        match open.first {
            None => {
                open.first = Some(output.at);
                self.first_token.observe(seconds(output.at.since(open.submitted)));
            }
            Some(_) => self.next_token.observe(seconds(output.at.since(open.last))),
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
        self.prompt_tokens.observe(open.prompt_tokens as f64);
        self.generation_tokens.observe(answer as f64);
        self.max_generation_tokens.observe(answer as f64);
        self.n.observe(open.n as f64);
        self.max_tokens.observe(open.max_tokens as f64);
        self.e2e.observe(seconds(last.at.since(open.submitted)));
        self.queue.observe(seconds(last.admitted.since(open.submitted)));
        self.inference.observe(seconds(last.at.since(last.admitted)));
        self.prefill.observe(seconds(first.since(last.admitted)));
        self.decode.observe(seconds(last.at.since(first)));
        self.preemptions.observe(0.0);
        self.prefill_computed.observe(open.prompt_tokens.saturating_sub(last.cached_tokens) as f64);
        // As in a real engine, an answer of one token counts as 0 seconds per output token.
        let between = if answer > 1 { seconds(last.at.since(first)) / (answer - 1) as f64 } else { 0.0 };
        self.per_output_token.observe(between);
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
        self.http_fine.observe(seconds);
        self.http_coarse.entry((handler, method)).or_insert_with(|| Histogram::new(HTTP_COARSE)).observe(seconds);
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
            let output = Output { id: 1, at: at(when), admitted: at(200), token: 0, index, cached_tokens, finished };
            meters.token(&mut open, &output);
        }
        let close = |histogram: &Histogram, sum: f64| (histogram.sum() - sum).abs() < 1e-9;
        assert!(close(&meters.first_token, 0.3) && close(&meters.next_token, 0.15) && close(&meters.e2e, 0.45));
        assert!(close(&meters.queue, 0.1) && close(&meters.prefill, 0.2) && close(&meters.decode, 0.15));
        assert!(close(&meters.inference, 0.35) && close(&meters.per_output_token, 0.075));
        assert!(close(&meters.prefill_computed, 34.0));
        assert_eq!((meters.at_length, meters.stopped, meters.next_token.count()), (1, 0, 2));
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
