//! Gauges of the pool, set from its summary every few seconds.
//!
//! Must not know requests.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use murmuration::fleet::{LoadReport, Trust};
use murmuration::id::EndpointId;
use murmuration::scheduler::{EndpointSummary, FleetSummary};
use prometheus::{Error, GaugeVec};

use super::families::Families;
use super::legacy_names::LegacyNames;

/// All trust states.
const STATES: [Trust; 3] = [Trust::Exact, Trust::Degraded, Trust::Fallback];

/// Families of the pool.
pub(super) struct PoolGauges {
    pool: String,
    kv_usage: GaugeVec,
    queue: GaugeVec,
    running: GaugeVec,
    kv_usage_spread: GaugeVec,
    queue_spread: GaugeVec,
    running_spread: GaugeVec,
    ready: GaugeVec,
    endpoint_queue: GaugeVec,
    requests: GaugeVec,
    tokens: GaugeVec,
    decode_tokens: GaugeVec,
    sessions: GaugeVec,
    index_size: GaugeVec,
    index_bytes: GaugeVec,
    trust: GaugeVec,
    tickets: GaugeVec,
    /// Endpoints that are on the page.
    shown: Mutex<BTreeSet<EndpointId>>,
}

// === impl PoolGauges ===

impl PoolGauges {
    pub(super) fn register(f: &Families<'_>, pool: &str) -> Result<Self, Error> {
        let endpoint = ["endpoint_name", "namespace"];
        Ok(Self {
            pool: pool.to_owned(),
            kv_usage: f.gauge(
                "llm_d_epp_average_kv_cache_utilization",
                "Mean KV-cache use of the pool's endpoints.",
                &["name"],
            )?,
            queue: f.gauge("llm_d_epp_average_queue_size", "Mean number of waiting requests.", &["name"])?,
            running: f.gauge("llm_d_epp_average_running_requests", "Mean number of running requests.", &["name"])?,
            kv_usage_spread: f.gauge(
                "llm_d_epp_std_dev_kv_cache_utilization",
                "Standard deviation of KV-cache use.",
                &["name"],
            )?,
            queue_spread: f.gauge(
                "llm_d_epp_std_dev_queue_size",
                "Standard deviation of waiting requests.",
                &["name"],
            )?,
            running_spread: f.gauge(
                "llm_d_epp_std_dev_running_requests",
                "Standard deviation of running requests.",
                &["name"],
            )?,
            ready: f.gauge("llm_d_epp_ready_endpoints", "Endpoints that answer and are awake.", &["name"])?,
            endpoint_queue: f.gauge(
                "llm_d_epp_per_endpoint_queue_size",
                "Waiting requests of one endpoint.",
                &["name", "model_server_endpoint"],
            )?,
            requests: f.gauge(
                "llm_d_epp_inflight_requests",
                "Requests dispatched from here and not finished.",
                &endpoint,
            )?,
            tokens: f.gauge(
                "llm_d_epp_inflight_tokens",
                "Uncached prompt tokens dispatched from here and not computed.",
                &endpoint,
            )?,
            decode_tokens: f.gauge(
                "murmuration_inflight_decode_tokens",
                "Estimated tokens of the answers of requests dispatched from here and not finished.",
                &endpoint,
            )?,
            index_size: f.gauge(
                "llm_d_epp_prefix_indexer_size",
                "Blocks in the prefix index, counted for each holder.",
                &["plugin_name", "plugin_type"],
            )?,
            index_bytes: f.gauge("murmuration_prefix_index_bytes", "Memory of the prefix index.", &[])?,
            trust: f.gauge(
                "murmuration_endpoint_trust",
                "1 for the trust state that an endpoint's load is in.",
                &["endpoint_name", "namespace", "state"],
            )?,
            tickets: f.gauge("murmuration_tickets_open", "Requests whose end is not known yet.", &[])?,
            shown: Mutex::default(),
            sessions: f.gauge("murmuration_session_bindings", "Sessions whose endpoint is remembered.", &[])?,
        })
    }

    pub(super) fn set(&self, summary: &FleetSummary, legacy: &LegacyNames) {
        let name = [self.pool.as_str()];
        let reports = || summary.endpoints.iter().filter_map(|endpoint| endpoint.report.as_ref());
        let (queue, queue_spread) = spread(reports().filter_map(|report| report.waiting().map(f64::from)));
        let (running, running_spread) = spread(reports().filter_map(|report| report.running().map(f64::from)));
        let (kv_usage, kv_spread) = spread(reports().filter_map(LoadReport::kv_usage));
        let is_ready = |e: &&EndpointSummary| e.reachable && e.report.as_ref().is_some_and(|report| report.awake);
        let ready = summary.endpoints.iter().filter(is_ready).count() as f64;
        for (family, value) in [
            (&self.queue, queue),
            (&self.queue_spread, queue_spread),
            (&self.running, running),
            (&self.running_spread, running_spread),
            (&self.kv_usage, kv_usage),
            (&self.kv_usage_spread, kv_spread),
            (&self.ready, ready),
            (&legacy.queue, queue),
            (&legacy.kv_usage, kv_usage),
            (&legacy.ready, ready),
        ] {
            family.with_label_values(&name).set(value);
        }
        self.set_endpoints(summary);
        let blocks: u64 = summary.endpoints.iter().map(|endpoint| endpoint.index_blocks).sum();
        let index = "approx-prefix-cache-producer";
        self.index_size.with_label_values(&[index, index]).set(blocks as f64);
        self.index_bytes.with_label_values::<&str>(&[]).set(summary.index_bytes as f64);
        self.tickets.with_label_values::<&str>(&[]).set(summary.tickets.open as f64);
        self.sessions.with_label_values::<&str>(&[]).set(summary.sessions as f64);
    }

    /// Updates the endpoints' gauges: those of removed endpoints leave the page, the others never disappear in between.
    fn set_endpoints(&self, summary: &FleetSummary) {
        let now: BTreeSet<EndpointId> = summary.endpoints.iter().map(|endpoint| endpoint.endpoint.id.clone()).collect();
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for id in shown.difference(&now) {
            self.remove(id);
        }
        *shown = now;
        for endpoint in &summary.endpoints {
            let id = &endpoint.endpoint.id;
            let labels = [id.name(), id.namespace()];
            let queue = [self.pool.as_str(), id.name()];
            match &endpoint.report {
                Some(report) => self.endpoint_queue.with_label_values(&queue).set(f64::from(report.waiting)),
                None => drop(self.endpoint_queue.remove_label_values(&queue)),
            }
            self.requests.with_label_values(&labels).set(f64::from(endpoint.in_flight.requests));
            self.tokens.with_label_values(&labels).set(endpoint.in_flight.prefill_tokens as f64);
            self.decode_tokens.with_label_values(&labels).set(endpoint.in_flight.decode_tokens as f64);
            self.trust.with_label_values(&[labels[0], labels[1], endpoint.trust.as_str()]).set(1.0);
            for state in STATES.into_iter().filter(|state| *state != endpoint.trust) {
                let _ = self.trust.remove_label_values(&[labels[0], labels[1], state.as_str()]);
            }
        }
    }

    /// An endpoint left the pool.
    pub(super) fn endpoint_left(&self, endpoint: &EndpointId) {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).remove(endpoint);
        self.remove(endpoint);
    }

    /// Removes an endpoint from the page; one that was never on it is no error.
    fn remove(&self, id: &EndpointId) {
        let labels = [id.name(), id.namespace()];
        let _ = self.endpoint_queue.remove_label_values(&[&self.pool, id.name()]);
        for family in [&self.requests, &self.tokens, &self.decode_tokens] {
            let _ = family.remove_label_values(&labels);
        }
        for state in STATES {
            let _ = self.trust.remove_label_values(&[labels[0], labels[1], state.as_str()]);
        }
    }
}

/// Mean and standard deviation; zeros without values.
fn spread(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = values.clone().count().max(1) as f64;
    let mean = values.clone().sum::<f64>() / count;
    let variance = values.map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}
