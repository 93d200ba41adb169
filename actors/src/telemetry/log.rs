//! Log lines: the life of the replica at `info`, each request at `debug`, troubles at `warn`, and never a flood of them.
//!
//! Must not know metrics. No prompt and no header's value is ever written.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use murmuration::event::Event;
use murmuration::fleet::Trust;
use murmuration::id::{EndpointId, ReplicaId};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};
use tracing_subscriber::EnvFilter;

use super::log_writer::LogWriter;

pub use super::log_writer::LastLines;

/// From one line about a trouble to the next, while the trouble lasts.
const TROUBLE_EVERY: Duration = Duration::from_secs(10);
/// Endpoints whose troubles are remembered.
const TROUBLES_MAX: usize = 8192;
/// Peers and reasons of ignored words that are remembered.
const IGNORED_MAX: usize = 1024;
/// Refused server names that are remembered.
const NAMES_MAX: usize = 16;

/// Writes facts down.
#[derive(Debug, Default)]
pub(super) struct Logbook {
    troubles: Mutex<BTreeMap<EndpointId, Trouble>>,
    ignored: Mutex<BTreeSet<(ReplicaId, &'static str)>>,
    closed: Mutex<BTreeSet<(&'static str, &'static str)>>,
    names: Mutex<BTreeSet<String>>,
    refused: Mutex<Refused>,
}

/// The lasting trouble of one endpoint.
#[derive(Debug)]
struct Trouble {
    kind: &'static str,
    told: Instant,
    untold: u64,
}

/// Facts of peers that found no room, of whichever peer.
#[derive(Debug, Default)]
struct Refused {
    told: Option<Instant>,
    untold: usize,
}

/// Starts logging for the process until what it gives back is dropped: `json` or for people, at a level of llm-d's (2 to 5) or by a filter.
///
/// # Errors
/// One sentence, when the filter can't be read or logging was started before.
pub fn start(json: bool, verbosity: &str) -> Result<LastLines, String> {
    let directive = match verbosity {
        "0" | "1" => "warn",
        "2" | "3" => "info",
        "4" => "info,murmuration=debug,murmuration_actors=debug",
        "5" => "info,murmuration=trace,murmuration_actors=trace",
        filter => filter,
    };
    let filter = EnvFilter::try_new(directive)
        .map_err(|error| format!("-v {verbosity}: {error}; write 2, 4, 5 or info,murmuration=debug"))?;
    let told: fn(u64) -> String = if json { lost_for_machines } else { lost_for_people };
    let log_writer =
        LogWriter::new(std::io::stderr(), told).map_err(|error| format!("logging can't start: {error}"))?;
    let last_lines = log_writer.last_lines();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(log_writer);
    let started = if json {
        lines.json().flatten_event(true).try_init()
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
    started.map_err(|error| format!("logging can't start: {error}"))?;
    Ok(last_lines)
}

fn lost_for_machines(lines: u64) -> String {
    format!("{{\"level\":\"WARN\",\"message\":\"log lines were lost; is the log read?\",\"lines\":{lines}}}\n")
}

fn lost_for_people(lines: u64) -> String {
    format!("WARN {lines} log lines were lost; is the log read?\n")
}

// === impl Logbook ===

impl Logbook {
    pub(super) fn record(&self, event: &Event) {
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
            Event::Decided(decided) => {
                debug!(request_id = decided.request_id, endpoint = %decided.endpoint, model = decided.target_model,
                    matched = decided.matched.blocks, of = decided.matched.of, candidates = decided.candidates, "decided");
            }
            Event::Refused { request_id, model, code, sentence } => {
                debug!(request_id, model, code = code.as_str(), sentence, "refused");
            }
            Event::ServedElsewhere { ticket, decided, served } => {
                let served = served.as_ref().map_or("nobody known", EndpointId::as_str);
                debug!(%ticket, %decided, served, "served elsewhere");
            }
            Event::LocalReply { status } => debug!(status, "the proxy answered by itself"),
            Event::TicketClosed { ticket, outcome } => debug!(%ticket, ?outcome, "ticket closed"),
            Event::RequestFinished(finished) => {
                debug!(request_id = finished.request_id, outcome = ?finished.outcome, status = finished.status,
                    duration_ms = finished.duration.as_millis() as u64, "finished");
            }
            Event::PeerJoined { peer, incarnation } => info!(%peer, %incarnation, "peer joined"),
            Event::PeerLost { peer, incarnation } => warn!(%peer, %incarnation, "peer lost"),
            Event::PeerIgnored { peer, why } => self.ignored(peer, why),
            Event::PeerFactsRefused { peer, facts } => self.refused(peer, *facts),
            Event::GossipLeftOut { facts } => debug!(facts, "facts found no room in gossip"),
            Event::GapRepaired { peer } => debug!(%peer, "a gap in what a peer said was repaired"),
            Event::Keeping { kept, of } => info!(kept, of, "endpoints kept"),
            Event::BatchReceived { .. } | Event::BatchSent { .. } => {}
            Event::ConnectionClosed { port, why } => self.closed(port, why),
            Event::AuthorityRepaired { .. } => {}
            Event::ServerNameRefused { port, name } => self.name_refused(port, name),
            Event::Reloaded(what) => info!(what, "reloaded"),
            Event::ReloadFailed(why) => warn!(why, "reload failed; what was known stays in force"),
            Event::PromptSaltChanged { drawn_by } => {
                info!(%drawn_by, "prompt salt changed: the tier's was drawn by this incarnation; prefixes known so far match nothing");
            }
            Event::GossipRestarted { was, now, why } => {
                warn!(%was, %now, why, "gossip ended and starts again as the next incarnation");
            }
            Event::ActorRestarted { actor, why } => warn!(actor, why, "part failed and starts again"),
            Event::PartGivenUp { part, attempts, why } => {
                error!(part, attempts, why, "part failed too often and is given up; the replica ends");
            }
            Event::Panicked { place, why } => error!(place, why, "panic"),
        }
    }

    /// What engines said, and how they fail.
    fn record_of_engine(&self, event: &Event) {
        match event {
            Event::Scraped { endpoint, .. } => self.recovered(endpoint),
            Event::ScrapeFailed { endpoint, kind, why } => self.trouble(endpoint, kind, why),
            Event::GaugesMissing { endpoint, missing } if missing.is_none() => {
                info!(%endpoint, "the engine's page tells all gauges again");
            }
            Event::GaugesMissing { endpoint, missing } => {
                let gauges = missing.names().collect::<Vec<_>>().join(", ");
                warn!(%endpoint, gauges, "the engine's page does not tell these gauges; they count as unknown");
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

    /// One line for each peer and reason: whoever sends rubbish sends it often.
    fn ignored(&self, peer: &ReplicaId, why: &'static str) {
        let mut ignored = self.ignored.lock().unwrap_or_else(PoisonError::into_inner);
        if ignored.len() < IGNORED_MAX && ignored.insert((peer.clone(), why)) {
            warn!(%peer, why, "what a peer said was not taken in; further ones are only counted");
        }
    }

    /// One line for each port and reason: foreign_traffic on an open port are many.
    fn closed(&self, port: &'static str, why: &'static str) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if closed.insert((port, why)) {
            warn!(port, why, "a connection was not let in or was ended; further ones are only counted");
        }
    }

    /// One line an interval, with the number of facts since the last.
    fn refused(&self, peer: &ReplicaId, facts: usize) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.untold += facts;
        if refused.told.is_none_or(|told| told.elapsed() >= TROUBLE_EVERY) {
            let facts = refused.untold;
            warn!(%peer, facts, "facts of peers found no room; do all replicas discover the same endpoints?");
            *refused = Refused { told: Some(Instant::now()), untold: 0 };
        }
    }

    /// One line for each name, with the cure: without it the other side says only `illegal_parameter`.
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

    /// A line when trouble begins or changes its kind, and then one now and again, with a count.
    fn trouble(&self, endpoint: &EndpointId, kind: &'static str, why: &str) {
        let mut troubles = self.troubles();
        let now = Instant::now();
        if let Some(known) = troubles.get_mut(endpoint).filter(|known| known.kind == kind) {
            known.untold += 1;
            if now.duration_since(known.told) < TROUBLE_EVERY {
                return;
            }
            warn!(%endpoint, kind, why, times = known.untold, "scrapes still fail");
            (known.told, known.untold) = (now, 0);
            return;
        }
        warn!(%endpoint, kind, why, "scrape failed");
        if troubles.len() < TROUBLES_MAX {
            troubles.insert(endpoint.clone(), Trouble { kind, told: now, untold: 0 });
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
