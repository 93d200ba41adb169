//! The same values under deprecated metric names that dashboards, autoscalers and alerts still query.
//!
//! Everything here exists under a newer name too.

use murmuration::event::RequestFinished;
use prometheus::{CounterVec, Error, GaugeVec, HistogramVec};

use super::buckets;
use super::families::Families;
use super::series::Names;

const LABELS: [&str; 2] = ["model_name", "target_model_name"];

/// Metric families with deprecated names.
pub(super) struct LegacyNames {
    total: CounterVec,
    errors: CounterVec,
    seconds: HistogramVec,
    running: GaugeVec,
    pub(super) kv_usage: GaugeVec,
    pub(super) queue: GaugeVec,
    pub(super) ready: GaugeVec,
}

// === impl LegacyNames ===

impl LegacyNames {
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
        })
    }

    /// One more request was routed or refused.
    pub(super) fn counted(&self, names: &Names, priority: &str) {
        self.total.with_label_values(&[&names.model, &names.target, priority]).inc();
    }

    /// One more request of this model is in progress, or one fewer.
    pub(super) fn under_way(&self, model: &str, change: f64) {
        self.running.with_label_values(&[model]).add(change);
    }

    pub(super) fn failed(&self, names: &Names, code: &str) {
        self.errors.with_label_values(&[&names.model, &names.target, code]).inc();
    }

    pub(super) fn measured(&self, finished: &RequestFinished, names: &Names) {
        let labels = [names.model.as_str(), &names.target];
        self.seconds.with_label_values(&labels).observe(finished.duration.as_secs_f64());
    }

    /// Removes the series of `names` from the page; those with a priority for each of `priorities`.
    pub(super) fn remove(&self, names: &Names, codes: &[String], priorities: &[String]) {
        let l = [names.model.as_str(), &names.target];
        let _ = self.seconds.remove_label_values(&l);
        for priority in priorities {
            let _ = self.total.remove_label_values(&[l[0], l[1], priority]);
        }
        for code in codes {
            let _ = self.errors.remove_label_values(&[l[0], l[1], code]);
        }
    }

    /// Removes a model without remaining series from the page.
    pub(super) fn remove_model(&self, model: &str) {
        let _ = self.running.remove_label_values(&[model]);
    }
}
