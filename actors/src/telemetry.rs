//! What the replica tells the world: facts become counters, log lines and spans here and nowhere else.
//!
//! Must not know how facts come about. The only place with names of metrics.

mod buckets;
mod connection_metrics;
mod engine_metrics;
mod families;
mod flock_metrics;
pub mod log;
mod metrics;
mod pen;
mod pool_gauges;
mod request_metrics;
mod request_series;
mod rival_names;
mod series;
mod served_names;
pub mod span;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use murmuration::event::Event;
use murmuration::scheduler::FleetSummary;
use murmuration::share::Member;

use log::Logbook;
use metrics::Metrics;
use span::Tracer;

/// The replica's voice. Cheap to clone.
#[derive(Clone)]
pub struct Telemetry {
    inner: Arc<Inner>,
    witness: Option<Witness>,
}

/// Sees every fact, as it is recorded, on whichever task records it; must be quick.
pub type Witness = Arc<dyn Fn(&Event) + Send + Sync>;

struct Inner {
    metrics: Metrics,
    logbook: Logbook,
    tracer: Tracer,
}

// === impl Telemetry ===

impl Telemetry {
    /// A voice for the pool called `pool`, with its own registry: two in one process don't mix.
    ///
    /// # Errors
    /// When two metrics have one name, which is a mistake in this folder.
    pub fn new(pool: &str, tracer: Tracer) -> Result<Self, prometheus::Error> {
        let metrics = Metrics::register(pool)?;
        Ok(Self { inner: Arc::new(Inner { metrics, logbook: Logbook::default(), tracer }), witness: None })
    }

    /// The same voice, heard by `witness` too.
    pub fn with_witness(self, witness: Witness) -> Self {
        Self { witness: Some(witness), ..self }
    }

    /// Counts a fact, and tells it where it is worth a line.
    pub fn record(&self, event: &Event) {
        self.inner.metrics.record(event);
        self.inner.logbook.record(event);
        if let Some(witness) = &self.witness {
            witness(event);
        }
    }

    /// Notes how long the scheduler took for one answer, its queue included.
    pub fn decision_took(&self, span: Duration) {
        self.inner.metrics.decision_took(span);
    }

    /// Sets the pool's gauges.
    pub fn pool(&self, summary: &FleetSummary, roster: &[Member]) {
        self.inner.metrics.pool(summary, roster);
    }

    /// The metrics page.
    pub fn page(&self) -> String {
        self.inner.metrics.page()
    }
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}
