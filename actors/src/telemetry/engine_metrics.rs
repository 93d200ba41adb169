//! Metrics of engines: scrapes of their pages, lost caches, failures, and missing gauges.
//!
//! Must not know requests.

use murmuration::event::Event;
use prometheus::{CounterVec, Error, HistogramVec};

use super::buckets;
use super::families::Families;

/// Metric families of engines.
pub(super) struct EngineMetrics {
    scrapes: CounterVec,
    scrape_bytes: CounterVec,
    scrape_seconds: HistogramVec,
    scrape_failures: CounterVec,
    poll_errors: CounterVec,
    caches_cleared: CounterVec,
    failing: CounterVec,
    gauges_missing: CounterVec,
}

// === impl EngineMetrics ===

impl EngineMetrics {
    pub(super) fn register(f: &Families<'_>) -> Result<Self, Error> {
        Ok(Self {
            scrapes: f.counter("murmuration_scrapes_total", "Metrics pages read.", &[])?,
            scrape_bytes: f.counter("murmuration_scrape_bytes_total", "Bytes of metrics pages read.", &[])?,
            scrape_seconds: f.histogram(
                "murmuration_scrape_duration_seconds",
                "From asking for a metrics page to its last byte.",
                &[],
                buckets::processing_seconds(),
            )?,
            scrape_failures: f.counter(
                "murmuration_scrape_failures_total",
                "Metrics pages that did not come or could not be read.",
                &["kind"],
            )?,
            poll_errors: f.counter(
                "llm_d_epp_datalayer_poll_errors_total",
                "Failed polls, by source.",
                &["source_type"],
            )?,
            caches_cleared: f.counter(
                "murmuration_caches_cleared_total",
                "Engines that lost their cache, by how it was noticed.",
                &["noticed"],
            )?,
            failing: f.counter(
                "murmuration_endpoints_failing_total",
                "Times that an engine began to fail most of what it was asked.",
                &[],
            )?,
            gauges_missing: f.counter(
                "murmuration_gauges_missing_total",
                "Times that a gauge went missing from an engine's metrics page.",
                &["gauge"],
            )?,
        })
    }

    pub(super) fn record(&self, event: &Event) {
        match event {
            Event::Scraped { took, bytes, .. } => {
                self.scrapes.with_label_values::<&str>(&[]).inc();
                self.scrape_bytes.with_label_values::<&str>(&[]).inc_by(*bytes as f64);
                self.scrape_seconds.with_label_values::<&str>(&[]).observe(took.as_secs_f64());
            }
            Event::ScrapeFailed { kind, .. } => {
                self.scrape_failures.with_label_values(&[kind]).inc();
                self.poll_errors.with_label_values(&["metrics-data-source"]).inc();
            }
            Event::CacheCleared { loss, .. } => self.caches_cleared.with_label_values(&[loss.as_str()]).inc(),
            Event::EndpointFailing { failing: true, .. } => self.failing.with_label_values::<&str>(&[]).inc(),
            Event::GaugesMissing { missing, .. } => {
                missing.names().for_each(|gauge| self.gauges_missing.with_label_values(&[gauge]).inc());
            }
            _ => {}
        }
    }
}
