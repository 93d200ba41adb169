//! All metrics of the replica: registers the families, and maps each event to the families that it updates.

use std::time::Duration;

use murmuration::event::{Event, RequestFinished};
use murmuration::replication::Member;
use murmuration::scheduler::FleetSummary;
use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, Encoder, Error, Gauge, GaugeVec, Histogram, HistogramVec, Registry, TextEncoder};

use super::buckets;
use super::connection_metrics::ConnectionMetrics;
use super::engine_metrics::EngineMetrics;
use super::families::{Families, ListedFamily};
use super::kubernetes_metrics::KubernetesMetrics;
use super::pool_gauges::PoolGauges;
use super::replication_metrics::ReplicationMetrics;
use super::request_series::RequestSeries;
use super::sidecar_metrics::SidecarMetrics;
use super::twins;

/// The label values of the prefix index, which llm-d labels by plugin.
const INDEX: [&str; 2] = ["approx-prefix-cache-producer", "approx-prefix-cache-producer"];

/// All metric families of the replica.
pub(super) struct Metrics {
    registry: Registry,
    pub(super) listed: Vec<ListedFamily>,
    requests: RequestSeries,
    pool: PoolGauges,
    replication: ReplicationMetrics,
    sidecar: SidecarMetrics,
    connections: ConnectionMetrics,
    kubernetes: KubernetesMetrics,
    decisions: Histogram,
    refusals: CounterVec,
    engines: EngineMetrics,
    tickets: CounterVec,
    served_elsewhere: CounterVec,
    local_replies: CounterVec,
    hit_ratio: HistogramVec,
    hit_bytes: HistogramVec,
    predictions: CounterVec,
    restarts: CounterVec,
    given_up: CounterVec,
    panics: CounterVec,
    prepared: CounterVec,
    reloads: CounterVec,
    pub(super) body_bytes: Gauge,
    pub(super) streams: Gauge,
    pub(super) stream_seconds: Histogram,
    pub(super) streams_total: CounterVec,
}

// === impl Metrics ===

impl Metrics {
    pub(super) fn register(pool: &str) -> Result<Self, Error> {
        let registry = Registry::new();
        let f = Families::new(&registry);
        let plugin = ["plugin_name", "plugin_type"];
        let info: GaugeVec = f.gauge("llm_d_epp_info", "What runs here.", &["commit", "build_ref"])?;
        info.with_label_values(&["", concat!("murmuration-", env!("CARGO_PKG_VERSION"))]).set(1.0);
        Ok(Self {
            requests: RequestSeries::register(&f)?,
            pool: PoolGauges::register(&f, pool)?,
            replication: ReplicationMetrics::register(&f)?,
            sidecar: SidecarMetrics::register(&f)?,
            connections: ConnectionMetrics::register(&f)?,
            kubernetes: KubernetesMetrics::register(&f)?,
            decisions: f.histogram("llm_d_epp_scheduler_e2e_duration_seconds", "From asking the scheduler to its answer.", &[], buckets::decision_seconds())?.with_label_values::<&str>(&[]),
            engines: EngineMetrics::register(&f)?,
            refusals: f.counter("murmuration_refusals_total", "Requests answered by the replica itself, by reason.", &["code"])?,
            tickets: f.counter("murmuration_tickets_closed_total", "Tickets closed, by how they ended.", &["outcome"])?,
            served_elsewhere: f.counter("murmuration_served_by_other_endpoint_total", "Requests that another endpoint of their list served.", &[])?,
            local_replies: f.counter("murmuration_local_replies_total", "Requests that the proxy answered by itself before this replica saw them, by status.", &["status"])?,
            hit_ratio: f.histogram("llm_d_epp_prefix_indexer_hit_ratio", "Share of a prompt that the picked endpoint was believed to hold.", &plugin, buckets::ratios())?,
            hit_bytes: f.histogram("llm_d_epp_prefix_indexer_hit_bytes", "Bytes of a prompt that the picked endpoint was believed to hold.", &plugin, hit_bytes())?,
            predictions: f.counter("murmuration_prefix_predictions_total", "Requests whose cached share, by the engine, was at least (kept) or less than (broken) what the index predicted.", &["result"])?,
            restarts: f.counter("murmuration_actor_restarts_total", "Actors and tasks that failed and were started again.", &["kind"])?,
            given_up: f.counter("murmuration_parts_given_up_total", "Vital parts that failed too often; the replica ends.", &["part"])?,
            panics: f.counter("murmuration_panics_total", "Panics in this process, caught or not.", &[])?,
            prepared: f.counter("murmuration_preparations_total", "Requests about which a producer was asked before their decision.", &["producer", "result"])?,
            reloads: f.counter("murmuration_reloads_total", "Reloads of endpoints and certificates.", &["result"])?,
            body_bytes: f.gauge("murmuration_request_body_bytes", "Bytes of the bodies of requests that are arriving, being read or being sent on.", &[])?.with_label_values::<&str>(&[]),
            streams: f.gauge("llm_d_epp_extproc_streams_inflight", "Open ext-proc streams.", &[])?.with_label_values::<&str>(&[]),
            stream_seconds: f.histogram("llm_d_epp_extproc_stream_duration_seconds", "Duration of ext-proc streams.", &[], buckets::request_seconds())?.with_label_values::<&str>(&[]),
            streams_total: f.counter("llm_d_epp_extproc_streams_total", "Ext-proc streams that ended.", &["code"])?,
            listed: twins::with(f.listed()),
            registry,
        })
    }

    pub(super) fn record(&self, event: &Event) {
        match event {
            Event::Decided(decided) => {
                self.requests.decided(decided);
                self.hit_ratio.with_label_values(&INDEX).observe(decided.matched.ratio());
                let bytes = f64::from(decided.matched.blocks) * f64::from(decided.block_tokens) * 4.0;
                self.hit_bytes.with_label_values(&INDEX).observe(bytes);
            }
            Event::Refused { model, code, .. } => {
                self.refusals.with_label_values(&[code.as_str()]).inc();
                self.requests.refused(model, code.status());
            }
            Event::RequestFinished(finished) => self.finished(finished),
            Event::TicketClosed { ticket, outcome } => {
                self.requests.closed(*ticket);
                self.tickets.with_label_values(&[format!("{outcome:?}").as_str()]).inc();
            }
            Event::LocalReply { status } => self.local_reply(*status),
            Event::Prepared { producer, result } => self.prepared.with_label_values(&[producer, result]).inc(),
            Event::ServedElsewhere { .. } => self.served_elsewhere.with_label_values::<&str>(&[]).inc(),
            Event::Scraped { .. }
            | Event::ScrapeFailed { .. }
            | Event::CacheCleared { .. }
            | Event::EndpointFailing { .. }
            | Event::GaugesMissing { .. } => self.engines.record(event),
            Event::ActorRestarted { actor, .. } => {
                let kind = actor.split(' ').next().unwrap_or_default();
                self.restarts.with_label_values(&[kind]).inc();
                if kind == "scheduler" {
                    self.requests.forget_under_way();
                }
            }
            Event::GossipRestarted { .. } => self.restarts.with_label_values(&["gossip"]).inc(),
            Event::PartGivenUp { part, .. } => self.given_up.with_label_values(&[part]).inc(),
            Event::Sidecar(event) => self.sidecar.record(event),
            Event::Panicked { .. } => self.panics.with_label_values::<&str>(&[]).inc(),
            Event::Reloaded(_) => self.reloads.with_label_values(&["ok"]).inc(),
            Event::ReloadFailed(_) => self.reloads.with_label_values(&["failed"]).inc(),
            Event::PromptSaltChanged { .. }
            | Event::PeerJoined { .. }
            | Event::PeerLost { .. }
            | Event::PeerIgnored { .. }
            | Event::PoolNotServed { .. }
            | Event::PeerFactsRefused { .. }
            | Event::GossipLeftOut { .. }
            | Event::BatchReceived { .. }
            | Event::BytesSent { .. }
            | Event::GapRepaired { .. }
            | Event::Keeping { .. } => self.replication.record(event),
            Event::ConnectionClosed { .. } | Event::AuthorityRepaired { .. } | Event::ServerNameRefused { .. } => {
                self.connections.record(event);
            }
            Event::WatchFailed { .. }
            | Event::WatchInterrupted { .. }
            | Event::WatchEstablished { .. }
            | Event::WatchAbsent { .. }
            | Event::ObjectRefused { .. }
            | Event::StatusWrite { .. }
            | Event::StatusDenied { .. }
            | Event::MetricsRefused(_)
            | Event::ReviewFailed(_)
            | Event::PoolMissing { .. } => self.kubernetes.record(event),
            Event::EndpointLeft(endpoint) => {
                self.requests.endpoint_left(endpoint);
                self.pool.endpoint_left(endpoint);
            }
            // The pool's gauges show these; they are set from the current state instead of events.
            Event::EndpointJoined(_) | Event::EndpointRefused { .. } | Event::TrustChanged { .. } => {}
        }
    }

    fn finished(&self, finished: &RequestFinished) {
        self.requests.finished(finished);
        if let Some((usage, cached)) = finished.usage.and_then(|usage| Some((usage, usage.cached_tokens?))) {
            // The engine always computes the last block, so a prediction within a tenth of the prompt counts as kept.
            let share = cached as f64 / usage.prompt_tokens.max(1) as f64;
            let result = if share + 0.1 >= finished.predicted_share { "kept" } else { "broken" };
            self.predictions.with_label_values(&[result]).inc();
        }
    }

    fn local_reply(&self, status: Option<u16>) {
        let known = status.filter(|status| (100..600).contains(status));
        let label = known.map_or("other".to_owned(), |status| status.to_string());
        self.local_replies.with_label_values(&[label]).inc();
    }

    pub(super) fn decision_took(&self, duration: Duration) {
        self.decisions.observe(duration.as_secs_f64());
    }

    pub(super) fn pool(&self, summary: &FleetSummary, members: &[Member]) {
        self.requests.age(summary);
        self.pool.set(summary, &self.requests.legacy);
        self.replication.set(&summary.peers, members);
    }

    /// All families that have a series.
    pub(super) fn families(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }
}

/// These families as text.
pub(super) fn text_of(families: &[MetricFamily]) -> String {
    let mut page = Vec::new();
    // Writing to memory can't fail, and the encoder writes UTF-8.
    let _ = TextEncoder::new().encode(families, &mut page);
    String::from_utf8(page).unwrap_or_default()
}

fn hit_bytes() -> Vec<f64> {
    std::iter::once(0.0).chain(buckets::doubling(16.0, 13)).collect()
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
