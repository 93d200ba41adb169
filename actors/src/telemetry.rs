//! Telemetry of a replica: turns events into counters, log lines and spans, here and nowhere else.
//!
//! Must not know how events come about. The only place with names of metrics.

mod buckets;
mod connection_metrics;
mod engine_metrics;
mod families;
mod kubernetes_log;
mod kubernetes_metrics;
pub mod labels;
mod legacy_names;
pub mod log;
mod log_writer;
mod metrics;
mod pool_gauges;
mod pool_label;
mod replication_metrics;
mod request_metrics;
mod request_series;
mod series;
mod served_names;
mod sidecar_log;
mod sidecar_metrics;
pub mod span;
mod twins;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use murmuration::event::Event;
use murmuration::id::PoolId;
use murmuration::replication::Member;
use murmuration::scheduler::FleetSummary;

pub use families::ListedFamily;
use log::EventLog;
use metrics::Metrics;
use span::Tracer;

/// The telemetry of a replica. Cheap to clone.
#[derive(Clone)]
pub struct Telemetry {
    inner: Arc<Inner>,
    observer: Option<EventObserver>,
}

/// Receives every event on the task that records it; must be quick.
pub type EventObserver = Arc<dyn Fn(&Event) + Send + Sync>;

struct Inner {
    metrics: Metrics,
    event_log: EventLog,
    tracer: Tracer,
}

// === impl Telemetry ===

impl Telemetry {
    /// Telemetry for the pool called `pool`, with its own registry: two in one process don't mix.
    ///
    /// # Errors
    /// When two metrics have one name, which is a mistake in this folder.
    pub fn new(pool: &str, tracer: Tracer) -> Result<Self, prometheus::Error> {
        let metrics = Metrics::register(pool)?;
        Ok(Self { inner: Arc::new(Inner { metrics, event_log: EventLog::default(), tracer }), observer: None })
    }

    /// The telemetry of one of several pools: with metrics of its own, and with the pool's name on each line.
    ///
    /// # Errors
    /// See [`Telemetry::new`].
    pub fn of_pool(&self, pool: &PoolId) -> Result<Self, prometheus::Error> {
        let metrics = Metrics::register(pool.as_str())?;
        let (event_log, tracer) = (EventLog::of_pool(pool), self.inner.tracer.clone());
        Ok(Self { inner: Arc::new(Inner { metrics, event_log, tracer }), observer: self.observer.clone() })
    }

    /// The same telemetry, which also passes each event to `observer`.
    pub fn with_observer(self, observer: EventObserver) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Counts an event, and logs it where it is worth a line.
    pub fn record(&self, event: &Event) {
        self.inner.metrics.record(event);
        self.inner.event_log.record(event);
        if let Some(observer) = &self.observer {
            observer(event);
        }
    }

    /// Records how long the scheduler took for one decision, time in its queue included.
    pub fn decision_took(&self, span: Duration) {
        self.inner.metrics.decision_took(span);
    }

    /// Sets the pool's gauges.
    pub fn pool(&self, summary: &FleetSummary, members: &[Member]) {
        self.inner.metrics.pool(summary, members);
    }

    /// Every family that the metrics page can have, in alphabetical order. Those without a series are not on the page.
    pub fn listed_families(&self) -> &[ListedFamily] {
        &self.inner.metrics.listed
    }

    /// The metrics page.
    pub fn page(&self) -> String {
        metrics::text_of(&twins::added(self.inner.metrics.families()))
    }

    /// The metrics page of a sidecar: what a replica alone has is not on it.
    pub fn sidecar_page(&self) -> String {
        let mut families = self.inner.metrics.families();
        families.retain(|family| sidecar_metrics::is_a_sidecars(family.name()));
        metrics::text_of(&families)
    }

    /// The metrics page of a process, whose telemetry this is, with several pools. Series of a pool bear its name.
    pub fn page_of<'a>(&self, pools: impl Iterator<Item = (&'a PoolId, &'a Self)>) -> String {
        let of_pools = pools.map(|(pool, telemetry)| (pool, telemetry.inner.metrics.families()));
        metrics::text_of(&twins::added(pool_label::joined(self.inner.metrics.families(), of_pools)))
    }
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}
