//! The same facts under the older names that dashboards, autoscalers and alerts still ask for.
//!
//! Must not know more than those names; everything here exists under a newer name too.

use murmuration::event::{Decided, RequestFinished};
use prometheus::{CounterVec, Error, GaugeVec, HistogramVec};

use super::buckets;
use super::families::Families;
use super::guard::Guard;

const LABELS: [&str; 2] = ["model_name", "target_model_name"];

/// Deprecated twins.
pub(super) struct RivalNames {
    total: CounterVec,
    errors: CounterVec,
    seconds: HistogramVec,
    running: GaugeVec,
    pub(super) kv_usage: GaugeVec,
    pub(super) queue: GaugeVec,
    pub(super) ready: GaugeVec,
    models: Guard,
}

// === impl RivalNames ===

impl RivalNames {
    pub(super) fn register(f: &Families<'_>) -> Result<Self, Error> {
        let with = |more: &'static str| [LABELS[0], LABELS[1], more];
        Ok(Self {
            total: f.counter(
                "inference_objective_request_total",
                "Deprecated: llm_d_epp_request_total.",
                &with("priority"),
            )?,
            errors: f.counter(
                "inference_objective_request_error_total",
                "Deprecated: llm_d_epp_request_error_total.",
                &with("error_code"),
            )?,
            seconds: f.histogram(
                "inference_objective_request_duration_seconds",
                "Deprecated: llm_d_epp_request_duration_seconds.",
                &LABELS,
                buckets::request_seconds(),
            )?,
            running: f.gauge(
                "inference_objective_running_requests",
                "Deprecated: llm_d_epp_request_running.",
                &["model_name"],
            )?,
            kv_usage: f.gauge(
                "inference_pool_average_kv_cache_utilization",
                "Deprecated: llm_d_epp_average_kv_cache_utilization.",
                &["name"],
            )?,
            queue: f.gauge(
                "inference_pool_average_queue_size",
                "Deprecated: llm_d_epp_average_queue_size.",
                &["name"],
            )?,
            ready: f.gauge("inference_pool_ready_pods", "Deprecated: llm_d_epp_ready_endpoints.", &["name"])?,
            models: Guard::default(),
        })
    }

    pub(super) fn decided(&self, decided: &Decided) {
        let model = self.models.admit(&decided.model);
        let labels = [model, self.models.admit(&decided.target_model), &decided.priority.to_string()];
        self.total.with_label_values(&labels).inc();
        self.running.with_label_values(&[model]).inc();
    }

    pub(super) fn refused(&self, model: &str, status: u16) {
        let model = self.models.admit(model);
        self.total.with_label_values(&[model, model, ""]).inc();
        self.errors.with_label_values(&[model, model, &status.to_string()]).inc();
    }

    pub(super) fn finished(&self, finished: &RequestFinished) {
        if finished.decided_after.is_none() {
            return;
        }
        let labels = [self.models.admit(&finished.model), self.models.admit(&finished.target_model)];
        self.running.with_label_values(&labels[..1]).dec();
        self.seconds.with_label_values(&labels).observe(finished.duration.as_secs_f64());
        if let Some(status) = finished.status.filter(|status| *status >= 400) {
            self.errors.with_label_values(&[labels[0], labels[1], &status.to_string()]).inc();
        }
    }
}
