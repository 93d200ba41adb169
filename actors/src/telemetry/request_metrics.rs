//! Metrics of requests, with llm-d's names and bounds (prefix `llm_d_epp_`).
//!
//! Must not know the pool or scrapes, nor which series may exist: `request_series` decides that.
//!
//! Histograms have no fairness id: clients choose it, and each value would add two hundred lines.

use murmuration::event::{RequestFinished, Split};
use murmuration::id::{EndpointId, PluginName};
use murmuration::request::Outcome;
use prometheus::{CounterVec, Error, GaugeVec, HistogramVec};

use super::buckets;
use super::families::Families;
use super::series::{Key, Names};

const LABELS: [&str; 4] = ["model_name", "target_model_name", "fairness_id", "priority"];
/// Labels of histograms.
const SPREAD: [&str; 3] = ["model_name", "target_model_name", "priority"];
/// Values of `decision_type`.
const DECISIONS: [&str; 4] = ["decode-only", "prefill-decode", "encode-decode", "encode-prefill-decode"];
/// Values of `streaming`.
const STREAMING: [&str; 2] = ["false", "true"];

/// Metric families of requests.
pub(super) struct RequestMetrics {
    total: CounterVec,
    errors: CounterVec,
    running: GaugeVec,
    seconds: HistogramVec,
    request_bytes: HistogramVec,
    response_bytes: HistogramVec,
    input_tokens: HistogramVec,
    cached_tokens: HistogramVec,
    output_tokens: HistogramVec,
    normalized: HistogramVec,
    first_token: HistogramVec,
    output_token: HistogramVec,
    attempts: CounterVec,
    processing: HistogramVec,
    rewrites: CounterVec,
    splits: CounterVec,
}

// === impl RequestMetrics ===

impl RequestMetrics {
    pub(super) fn register(families: &Families<'_>) -> Result<Self, Error> {
        let with = |more: &[&'static str]| -> Vec<&'static str> { LABELS.iter().chain(more).copied().collect() };
        let (l, f) = (&LABELS[..], families);
        let seconds = |name: &str, help: &str, bounds: Vec<f64>| f.histogram(name, help, &SPREAD, bounds);
        Ok(Self {
            total: f.counter("llm_d_epp_request_total", "Requests that were routed or refused.", l)?,
            errors: f.counter("llm_d_epp_request_error_total", "Requests that failed.", &with(&["error_code"]))?,
            running: f.gauge("llm_d_epp_request_running", "Requests routed and not finished.", l)?,
            seconds: seconds(
                "llm_d_epp_request_duration_seconds",
                "From the request to the answer's end.",
                buckets::request_seconds(),
            )?,
            request_bytes: seconds(
                "llm_d_epp_request_size_bytes",
                "Bytes of request bodies.",
                buckets::request_bytes(),
            )?,
            response_bytes: seconds("llm_d_epp_response_size_bytes", "Bytes of answers.", buckets::tokens(65_536.0))?,
            input_tokens: seconds(
                "llm_d_epp_request_input_tokens",
                "Prompt tokens, by the engine.",
                buckets::tokens(1_048_576.0),
            )?,
            cached_tokens: seconds(
                "llm_d_epp_request_cached_tokens",
                "Prompt tokens from the cache, by the engine.",
                buckets::tokens(1_048_576.0),
            )?,
            output_tokens: seconds(
                "llm_d_epp_request_output_tokens",
                "Answer tokens, by the engine.",
                buckets::tokens(8192.0),
            )?,
            normalized: seconds(
                "llm_d_epp_request_ntpot_seconds",
                "Duration for each answer token.",
                buckets::normalized_seconds(),
            )?,
            first_token: f.histogram(
                "llm_d_epp_request_ttft_seconds",
                "From the request to its first token.",
                &[SPREAD[0], SPREAD[1], SPREAD[2], "streaming"],
                buckets::first_token_seconds(),
            )?,
            output_token: seconds(
                "llm_d_epp_request_streaming_tpot_seconds",
                "Time for each token after the first.",
                buckets::output_token_seconds(),
            )?,
            attempts: f.counter(
                "llm_d_epp_scheduler_attempts_total",
                "Scheduling attempts.",
                &["status", "target_model_name", "endpoint_name", "namespace", "port"],
            )?,
            processing: f.histogram(
                "llm_d_epp_request_processing_duration_seconds",
                "From the request's first byte to its routing.",
                &[],
                buckets::processing_seconds(),
            )?,
            rewrites: f.counter(
                "llm_d_epp_model_rewrite_decisions_total",
                "Requests whose model was rewritten.",
                &["model_rewrite_name", "model_name", "target_model"],
            )?,
            splits: splits(f)?,
        })
    }

    /// One more request with these labels was routed or refused.
    pub(super) fn counted(&self, labels: &[&str; 4]) {
        self.total.with_label_values(labels).inc();
    }

    /// One more request with these labels is in progress, or one fewer.
    pub(super) fn under_way(&self, labels: &[&str; 4], change: f64) {
        self.running.with_label_values(labels).add(change);
    }

    pub(super) fn failed(&self, l: &[&str; 4], code: &str) {
        self.errors.with_label_values(&[l[0], l[1], l[2], l[3], code]).inc();
    }

    /// A request was sent to an endpoint under the model name `target`.
    pub(super) fn attempted(&self, target: &str, endpoint: &EndpointId, port: u16) {
        let labels = ["success", target, endpoint.name(), endpoint.namespace(), &port.to_string()];
        self.attempts.with_label_values(&labels).inc();
    }

    /// A request was sent to no endpoint.
    pub(super) fn attempt_failed(&self, target: &str) {
        self.attempts.with_label_values(&["failure", target, "", "", ""]).inc();
    }

    pub(super) fn rewritten(&self, names: &Names, by: &str) {
        self.rewrites.with_label_values(&[by, &names.model, &names.target]).inc();
    }

    /// A request's stages were split, or were not, under the model name `target`.
    pub(super) fn split(&self, target: &str, split: &Split) {
        let PluginName { name, kind } = &split.handler;
        self.splits.with_label_values(&[name.as_str(), kind, target, split.decision]).inc();
    }

    /// Records the figures of a finished request under the labels of histograms.
    pub(super) fn measured(&self, finished: &RequestFinished, l: &[&str; 3]) {
        if let Some(decided_after) = finished.decided_after {
            self.processing.with_label_values::<&str>(&[]).observe(decided_after.as_secs_f64());
        }
        self.seconds.with_label_values(l).observe(finished.duration.as_secs_f64());
        self.request_bytes.with_label_values(l).observe(finished.request_bytes as f64);
        self.response_bytes.with_label_values(l).observe(finished.response_bytes as f64);
        if let Some(first) = finished.first_token_after {
            let streaming = STREAMING[usize::from(finished.streaming)];
            self.first_token.with_label_values(&[l[0], l[1], l[2], streaming]).observe(first.as_secs_f64());
        }
        self.usage(finished, l);
    }

    fn usage(&self, finished: &RequestFinished, labels: &[&str; 3]) {
        let Some(usage) = finished.usage else { return };
        self.input_tokens.with_label_values(labels).observe(usage.prompt_tokens as f64);
        self.output_tokens.with_label_values(labels).observe(usage.completion_tokens as f64);
        if let Some(cached) = usage.cached_tokens {
            self.cached_tokens.with_label_values(labels).observe(cached as f64);
        }
        if usage.completion_tokens > 0 {
            let each = finished.duration.as_secs_f64() / usage.completion_tokens as f64;
            self.normalized.with_label_values(labels).observe(each);
        }
        if let (true, Some(first), 2..) = (finished.streaming, finished.first_token_after, usage.completion_tokens) {
            let each = finished.duration.saturating_sub(first).as_secs_f64() / (usage.completion_tokens - 1) as f64;
            self.output_token.with_label_values(labels).observe(each);
        }
    }

    /// Removes series from the page. A series that was never used is not there; that is no error.
    pub(super) fn remove(&self, key: &Key, codes: &[String]) {
        match key {
            Key::Request(names, flow, priority) => {
                let l = [names.model.as_str(), &names.target, flow, priority];
                let _ = (self.total.remove_label_values(&l), self.running.remove_label_values(&l));
                let _ = self.attempts.remove_label_values(&["failure", l[0], "", "", ""]);
                for code in codes {
                    let _ = self.errors.remove_label_values(&[l[0], l[1], l[2], l[3], code]);
                }
            }
            Key::Histograms(names, priority) => {
                let l = [names.model.as_str(), &names.target, priority];
                for family in self.histograms() {
                    let _ = family.remove_label_values(&l);
                }
                for streaming in STREAMING {
                    let _ = self.first_token.remove_label_values(&[l[0], l[1], l[2], streaming]);
                }
            }
            Key::Attempts(target, endpoint, port) => {
                let labels = ["success", target, endpoint.name(), endpoint.namespace(), &port.to_string()];
                let _ = self.attempts.remove_label_values(&labels);
            }
            Key::Rewrite(names, by) => {
                let _ = self.rewrites.remove_label_values(&[by.as_str(), &names.model, &names.target]);
            }
            Key::Split(target, handler, kind) => {
                for decision in DECISIONS {
                    let _ = self.splits.remove_label_values(&[handler.as_str(), kind, target, decision]);
                }
            }
            Key::Twins(_) => {}
        }
    }

    /// All histograms that have exactly the labels of [`SPREAD`].
    fn histograms(&self) -> [&HistogramVec; 8] {
        [
            &self.seconds,
            &self.request_bytes,
            &self.response_bytes,
            &self.input_tokens,
            &self.cached_tokens,
            &self.output_tokens,
            &self.normalized,
            &self.output_token,
        ]
    }
}

fn splits(families: &Families<'_>) -> Result<CounterVec, Error> {
    families.counter(
        "llm_d_epp_disagg_decision_total",
        "Decisions of profile handlers that can split a request's stages.",
        &["plugin_name", "plugin_type", "model_name", "decision_type"],
    )
}

/// The error code of a finished request: its status, or a name where the status is no error.
pub(super) fn error_code(finished: &RequestFinished) -> Option<String> {
    match (finished.outcome, finished.status) {
        (_, Some(status)) if status >= 400 => Some(status.to_string()),
        (Outcome::EngineError, _) => Some("ModelServerError".to_owned()),
        (Outcome::Abandoned, _) => Some("ClientDisconnect".to_owned()),
        (Outcome::Completed | Outcome::Rejected | Outcome::Inferred | Outcome::LeaseExpired, _) => None,
    }
}
