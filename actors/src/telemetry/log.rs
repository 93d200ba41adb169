//! Log lines: events of the replica at `info`, each request at `debug`, problems at `warn` with a limited rate.
//!
//! Must not know metrics. No prompt and no header's value is ever logged.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use murmuration::event::{Decided, Event};
use murmuration::fleet::Trust;
use murmuration::id::{EndpointId, PoolId, ReplicaId};
use tokio::time::Instant;
use tracing::{Span, debug, error, error_span, info, warn};
use tracing_subscriber::EnvFilter;

use super::kubernetes_log;
use super::log_writer::LogWriter;
use super::sidecar_log::SidecarLog;

pub use super::log_writer::LastLines;

/// The interval between two lines about a problem that persists.
const TROUBLE_EVERY: Duration = Duration::from_secs(10);
/// The most endpoints whose problems are remembered.
const TROUBLES_MAX: usize = 8192;
/// The most pairs of peer and reason for ignored messages, and of peer and pool, that are remembered.
const IGNORED_MAX: usize = 1024;
/// The most refused server names that are remembered.
const NAMES_MAX: usize = 16;

/// Writes events to the log.
#[derive(Debug, Default)]
pub(super) struct EventLog {
    /// The pool that lines are about, where there are several.
    pool: Option<Span>,
    troubles: Mutex<BTreeMap<EndpointId, Trouble>>,
    ignored: Mutex<BTreeSet<(ReplicaId, &'static str)>>,
    pools: Mutex<BTreeSet<(ReplicaId, PoolId)>>,
    closed: Mutex<BTreeSet<(&'static str, &'static str)>>,
    names: Mutex<BTreeSet<String>>,
    refused: Mutex<Refused>,
    sidecar: SidecarLog,
}

/// The current problem of one endpoint.
#[derive(Debug)]
struct Trouble {
    kind: &'static str,
    logged: Instant,
    suppressed: u64,
}

/// Facts that found no room, from all peers together.
#[derive(Debug, Default)]
struct Refused {
    logged: Option<Instant>,
    suppressed: usize,
}

/// Starts logging for the process, as JSON or as text, at one of llm-d's levels (2 to 5) or by a filter. Keep the
/// returned guard until the process ends.
///
/// # Errors
/// One sentence, when the filter can't be read or logging was started before.
pub fn start(json: bool, verbosity: &str) -> Result<LastLines, String> {
    let directive = match verbosity {
        "0" | "1" => "warn",
        // The client of the Kubernetes API logs each failure by itself; events tell each outage once.
        "2" | "3" => "info,kube_runtime=off,kube_client=off",
        "4" => "info,kube_runtime=off,kube_client=off,murmuration=debug,murmuration_actors=debug",
        "5" => "info,murmuration=trace,murmuration_actors=trace",
        filter => filter,
    };
    let filter = EnvFilter::try_new(directive)
        .map_err(|error| format!("-v {verbosity}: {error}; write 2, 4, 5 or info,murmuration=debug"))?;
    let lost_line: fn(u64) -> String = if json { lost_line_json } else { lost_line_text };
    let writer =
        LogWriter::new(std::io::stderr(), lost_line).map_err(|error| format!("logging can't start: {error}"))?;
    let last_lines = writer.last_lines();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let started = if json {
        lines.json().flatten_event(true).try_init()
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
    started.map_err(|error| format!("logging can't start: {error}"))?;
    Ok(last_lines)
}

fn lost_line_json(lines: u64) -> String {
    format!("{{\"level\":\"WARN\",\"message\":\"log lines were lost; is the log read?\",\"lines\":{lines}}}\n")
}

fn lost_line_text(lines: u64) -> String {
    format!("WARN {lines} log lines were lost; is the log read?\n")
}

fn record_decision(decided: &Decided) {
    debug!(request_id = decided.request_id, endpoint = %decided.endpoint, model = decided.target_model,
        matched = decided.matched.blocks, of = decided.matched.of, candidates = decided.candidates, "decided");
    if let Some(split) = &decided.split {
        let prefill = split.prefill.as_ref().map_or("none", EndpointId::as_str);
        debug!(request_id = decided.request_id, split = split.decision, prefill, "stages");
    }
}

// === impl EventLog ===

impl EventLog {
    /// The log of one of several pools: each line names it.
    pub(super) fn of_pool(pool: &PoolId) -> Self {
        Self { pool: Some(error_span!("pool", pool = %pool)), ..Self::default() }
    }

    pub(super) fn record(&self, event: &Event) {
        let _named = self.pool.as_ref().map(Span::enter);
        match event {
            Event::EndpointJoined(endpoint) => info!(%endpoint, "endpoint joined"),
            Event::EndpointLeft(endpoint) => {
                self.troubles().remove(endpoint);
                info!(%endpoint, "endpoint left");
            }
            Event::EndpointRefused { endpoint, why } => warn!(endpoint, why, "endpoint refused"),
            Event::TrustChanged { endpoint, from, to: Trust::Exact } => {
                info!(%endpoint, from = from.as_str(), "endpoint's load is known");
            }
            Event::TrustChanged { endpoint, from, to } => {
                warn!(%endpoint, from = from.as_str(), to = to.as_str(), "endpoint's load is no longer known well");
            }
            Event::Scraped { .. }
            | Event::ScrapeFailed { .. }
            | Event::GaugesMissing { .. }
            | Event::CacheCleared { .. }
            | Event::EndpointFailing { .. } => self.record_of_engine(event),
            Event::Decided(decided) => record_decision(decided),
            Event::Refused { request_id, model, code, sentence } => {
                debug!(request_id, model, code = code.as_str(), sentence, "refused");
            }
            Event::ServedElsewhere { ticket, decided, served } => {
                let served = served.as_ref().map_or("unknown", EndpointId::as_str);
                debug!(%ticket, %decided, served, "served elsewhere");
            }
            Event::Prepared { producer, result } => debug!(producer, result, "prepared"),
            Event::LocalReply { status } => debug!(status, "the proxy answered by itself"),
            Event::TicketClosed { ticket, outcome } => debug!(%ticket, ?outcome, "ticket closed"),
            Event::RequestFinished(finished) => {
                debug!(request_id = finished.request_id, outcome = ?finished.outcome, status = finished.status,
                    duration_ms = finished.duration.as_millis() as u64, "finished");
            }
            Event::PeerJoined { peer, incarnation } => info!(%peer, %incarnation, "peer joined"),
            Event::PeerLost { peer, incarnation } => warn!(%peer, %incarnation, "peer lost"),
            Event::PeerIgnored { peer, why } => self.ignored(peer, why),
            Event::PoolNotServed { peer, pool } => self.pool_not_served(peer, pool),
            Event::PeerFactsRefused { peer, facts } => self.refused(peer, *facts),
            Event::GossipLeftOut { facts } => debug!(facts, "facts found no room in gossip"),
            Event::GapRepaired { peer } => debug!(%peer, "a gap in a peer's facts was repaired"),
            Event::Keeping { kept, of } => info!(kept, of, "endpoints kept"),
            Event::BatchReceived { .. } | Event::BytesSent { .. } => {}
            Event::ConnectionClosed { port, why } => self.closed(port, why),
            Event::AuthorityRepaired { .. } => {}
            Event::ServerNameRefused { port, name } => self.name_refused(port, name),
            Event::Reloaded(what) => info!(what, "reloaded"),
            Event::ReloadFailed(why) => warn!(why, "reload failed; what was known stays in force"),
            Event::WatchFailed { .. }
            | Event::WatchInterrupted { .. }
            | Event::WatchEstablished { .. }
            | Event::WatchAbsent { .. }
            | Event::ObjectRefused { .. }
            | Event::StatusWrite { .. }
            | Event::StatusDenied { .. }
            | Event::MetricsRefused(_)
            | Event::ReviewFailed(_)
            | Event::PoolMissing { .. } => kubernetes_log::record(event),
            Event::PromptSaltChanged { .. } | Event::GossipRestarted { .. } => record_of_tier(event),
            Event::ActorRestarted { actor, why } => warn!(actor, why, "part failed and starts again"),
            Event::PartGivenUp { part, attempts, why } => {
                error!(part, attempts, why, "part failed too often and is given up; the replica ends");
            }
            Event::Sidecar(event) => self.sidecar.record(event),
            Event::Panicked { place, why } => error!(place, why, "panic"),
        }
    }

    /// Events of engines: scrapes, caches and failures.
    fn record_of_engine(&self, event: &Event) {
        match event {
            Event::Scraped { endpoint, .. } => self.recovered(endpoint),
            Event::ScrapeFailed { endpoint, kind, why } => self.trouble(endpoint, kind, why),
            Event::GaugesMissing { endpoint, missing } if missing.is_none() => {
                info!(%endpoint, "the engine's page shows all gauges again");
            }
            Event::GaugesMissing { endpoint, missing } => {
                let gauges = missing.names().collect::<Vec<_>>().join(", ");
                warn!(%endpoint, gauges, "the engine's page does not show these gauges; they count as unknown");
            }
            Event::CacheCleared { endpoint, loss } => {
                info!(%endpoint, noticed = loss.as_str(), "the engine lost its cache; what was placed there is forgotten");
            }
            Event::EndpointFailing { endpoint, failing: true, counts } => {
                warn!(%endpoint, failures = %counts, "the engine fails; others go first, and a few requests still try it");
            }
            Event::EndpointFailing { endpoint, counts, .. } => {
                info!(%endpoint, failures = %counts, "the engine no longer counts as failing");
            }
            _ => {}
        }
    }

    /// One line for each peer and reason: a peer that sends invalid messages sends many.
    fn ignored(&self, peer: &ReplicaId, why: &'static str) {
        let mut ignored = self.ignored.lock().unwrap_or_else(PoisonError::into_inner);
        if ignored.len() < IGNORED_MAX && ignored.insert((peer.clone(), why)) {
            warn!(%peer, why, "a peer's message was ignored; further ones are only counted");
        }
    }

    /// One line for each peer and pool: a peer that serves more pools sends many.
    fn pool_not_served(&self, peer: &ReplicaId, pool: &PoolId) {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if pools.len() < IGNORED_MAX && pools.insert((peer.clone(), pool.clone())) {
            warn!(%peer, %pool, "a peer's facts about a pool that is not served here were ignored; further ones are only counted");
        }
    }

    /// One line for each port and reason: an open port sees much foreign traffic.
    fn closed(&self, port: &'static str, why: &'static str) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if closed.insert((port, why)) {
            warn!(port, why, "a connection was not let in or was ended; further ones are only counted");
        }
    }

    /// One line per interval, with the number of facts since the last line.
    fn refused(&self, peer: &ReplicaId, facts: usize) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.suppressed += facts;
        if refused.logged.is_none_or(|logged| logged.elapsed() >= TROUBLE_EVERY) {
            let facts = refused.suppressed;
            warn!(%peer, facts, "facts of peers found no room; do all replicas discover the same endpoints?");
            *refused = Refused { logged: Some(Instant::now()), suppressed: 0 };
        }
    }

    /// One line for each name, with the fix: the client itself only sees `illegal_parameter`.
    fn name_refused(&self, port: &'static str, name: &str) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() < NAMES_MAX && names.insert(name.to_owned()) {
            warn!(
                port,
                name,
                "a TLS client asked for a server name that is no DNS name and was refused; in Istio, add `sni: <host of the \
                picker's Service>` beside `mode: SIMPLE` in the DestinationRule of the picker (docs/istio.md)"
            );
        }
    }

    /// One line when a problem begins or changes its kind, then one per [`TROUBLE_EVERY`] with a count.
    fn trouble(&self, endpoint: &EndpointId, kind: &'static str, why: &str) {
        let mut troubles = self.troubles();
        let now = Instant::now();
        if let Some(known) = troubles.get_mut(endpoint).filter(|known| known.kind == kind) {
            known.suppressed += 1;
            if now.duration_since(known.logged) < TROUBLE_EVERY {
                return;
            }
            warn!(%endpoint, kind, why, times = known.suppressed, "scrapes still fail");
            (known.logged, known.suppressed) = (now, 0);
            return;
        }
        warn!(%endpoint, kind, why, "scrape failed");
        if troubles.len() < TROUBLES_MAX {
            troubles.insert(endpoint.clone(), Trouble { kind, logged: now, suppressed: 0 });
        }
    }

    fn recovered(&self, endpoint: &EndpointId) {
        if self.troubles().remove(endpoint).is_some() {
            info!(%endpoint, "scrapes come again");
        }
    }

    fn troubles(&self) -> std::sync::MutexGuard<'_, BTreeMap<EndpointId, Trouble>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Events that the tier causes.
fn record_of_tier(event: &Event) {
    match event {
        Event::PromptSaltChanged { drawn_by } => {
            info!(%drawn_by, "prompt salt changed: the tier's was drawn by this incarnation; prefixes known so far match nothing");
        }
        Event::GossipRestarted { was, now, why } => {
            warn!(%was, %now, why, "gossip ended and starts again as the next incarnation");
        }
        _ => {}
    }
}
