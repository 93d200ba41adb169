//! Metrics of watches of the Kubernetes API.
//!
//! Must not know watches.

use murmuration::event::Event;
use prometheus::{CounterVec, Error, GaugeVec};

use super::families::Families;

/// Metric families of watches.
pub(super) struct KubernetesMetrics {
    interrupted: GaugeVec,
    failures: CounterVec,
    refused: CounterVec,
    status: CounterVec,
    unread: CounterVec,
}

// === impl KubernetesMetrics ===

impl KubernetesMetrics {
    pub(super) fn register(f: &Families<'_>) -> Result<Self, Error> {
        Ok(Self {
            interrupted: f.gauge("murmuration_watch_interrupted", "1 while a watch of the Kubernetes API keeps failing, so that what is known of these objects grows old; else 0.", &["resource"])?,
            failures: f.counter("murmuration_watch_failures_total", "Failures of watches of the Kubernetes API, each of which was tried again.", &["resource", "reason"])?,
            refused: f.counter("murmuration_objects_refused_total", "Objects of the Kubernetes API with a field that can't be used, as often as they were seen.", &[])?,
            unread: f.counter("murmuration_metrics_refused_total", "Reads of /metrics that were refused.", &["reason"])?,
            status: f.counter("murmuration_status_writes_total", "Conditions of objectives and model rewrites that this replica wrote, or could not.", &["resource", "outcome"])?,
        })
    }

    pub(super) fn record(&self, event: &Event) {
        match event {
            Event::WatchFailed { resource, reason } => self.failures.with_label_values(&[resource, reason]).inc(),
            Event::WatchInterrupted { resource, .. } => self.interrupted.with_label_values(&[resource]).set(1.0),
            Event::WatchEstablished { resource, .. } | Event::WatchAbsent { resource } => {
                self.interrupted.with_label_values(&[resource]).set(0.0)
            }
            Event::ObjectRefused { .. } => self.refused.with_label_values::<&str>(&[]).inc(),
            Event::MetricsRefused(reason) => self.unread.with_label_values(&[reason]).inc(),
            Event::StatusWrite { resource, outcome } => self.status.with_label_values(&[resource, outcome]).inc(),
            _ => {}
        }
    }
}
