//! Metrics of requests, at llm-d's names and bounds (prefix `llm_d_epp_`).
//!
//! Must not know the pool or the scrapes.

use murmuration::event::{Decided, RequestFinished};
use murmuration::request::Outcome;
use prometheus::{CounterVec, Error, GaugeVec, HistogramVec};

use super::buckets;
use super::families::Families;
use super::guard::Guard;

const LABELS: [&str; 4] = ["model_name", "target_model_name", "fairness_id", "priority"];

/// Families of requests.
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
    models: Guard,
    flows: Guard,
}

// === impl RequestMetrics ===

impl RequestMetrics {
    pub(super) fn register(families: &Families<'_>) -> Result<Self, Error> {
        let with = |more: &[&'static str]| -> Vec<&'static str> { LABELS.iter().chain(more).copied().collect() };
        let (l, f) = (&LABELS[..], families);
        let seconds = |name: &str, help: &str, bounds: Vec<f64>| f.histogram(name, help, l, bounds);
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
                &with(&["streaming"]),
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
            models: Guard::default(),
            flows: Guard::default(),
        })
    }

    pub(super) fn decided(&self, decided: &Decided) {
        let (model, target) = (self.models.admit(&decided.model), self.models.admit(&decided.target_model));
        let priority = decided.priority.to_string();
        let labels = [model, target, self.flows.admit(&decided.fairness_id), &priority];
        self.total.with_label_values(&labels).inc();
        self.running.with_label_values(&labels).inc();
        let (endpoint, port) = (&decided.endpoint, decided.port.to_string());
        self.attempts.with_label_values(&["success", target, endpoint.name(), endpoint.namespace(), &port]).inc();
        if model != target {
            self.rewrites.with_label_values(&["header", model, target]).inc();
        }
    }

    pub(super) fn refused(&self, model: &str, status: u16) {
        let model = self.models.admit(model);
        let labels = [model, model, "", ""];
        self.total.with_label_values(&labels).inc();
        self.errors.with_label_values(&[model, model, "", "", &status.to_string()]).inc();
        self.attempts.with_label_values(&["failure", model, "", "", ""]).inc();
    }

    pub(super) fn finished(&self, finished: &RequestFinished) {
        let Some(decided_after) = finished.decided_after else { return };
        let priority = finished.priority.to_string();
        let (model, target) = (self.models.admit(&finished.model), self.models.admit(&finished.target_model));
        let l = [model, target, self.flows.admit(&finished.fairness_id), &priority];
        self.running.with_label_values(&l).dec();
        self.processing.with_label_values::<&str>(&[]).observe(decided_after.as_secs_f64());
        self.seconds.with_label_values(&l).observe(finished.duration.as_secs_f64());
        self.request_bytes.with_label_values(&l).observe(finished.request_bytes as f64);
        self.response_bytes.with_label_values(&l).observe(finished.response_bytes as f64);
        if let Some(code) = error_code(finished) {
            self.errors.with_label_values(&[l[0], l[1], l[2], l[3], &code]).inc();
        }
        if let Some(first) = finished.first_token_after {
            let streaming = if finished.streaming { "true" } else { "false" };
            self.first_token.with_label_values(&[l[0], l[1], l[2], l[3], streaming]).observe(first.as_secs_f64());
        }
        self.usage(finished, &l);
    }

    fn usage(&self, finished: &RequestFinished, labels: &[&str; 4]) {
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
}

/// The error of a finished request: its status, or a word where the status says 200.
fn error_code(finished: &RequestFinished) -> Option<String> {
    match (finished.outcome, finished.status) {
        (_, Some(status)) if status >= 400 => Some(status.to_string()),
        (Outcome::EngineError, _) => Some("ModelServerError".to_owned()),
        (Outcome::Abandoned, _) => Some("ClientDisconnect".to_owned()),
        (Outcome::Completed | Outcome::Rejected | Outcome::Inferred | Outcome::LeaseExpired, _) => None,
    }
}
