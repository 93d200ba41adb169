//! The view of the fleet for one decision: one row per endpoint, with its beliefs discounted by their age.
//!
//! Must not know plugins, nor keep anything between two requests.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::chance::mix;
use crate::fleet::{CacheGeometry, Entry, FailureCounts, Fleet, LoadReport, Trust};
use crate::id::Slot;
use crate::prefix::PrefixMatch;
use crate::request::{InferenceRequest, Session};
use crate::schedule::admitted::Admitted;
use crate::schedule::{Candidate, SessionMatch};
use crate::time::Timestamp;

/// The rows of one decision, and counts of the endpoints left out.
#[derive(Debug)]
pub struct View<'a> {
    /// Ordered by endpoint name.
    pub rows: Vec<Candidate<'a>>,
    /// Endpoints outside of the gateway's subset.
    pub outside_subset: usize,
    /// Endpoints left out because their engine sleeps.
    pub asleep: usize,
    /// Endpoints left out because their listener does not answer, while another's does.
    pub unreachable: usize,
}

/// Gauges in the pool's most trusted reports. They replace what an endpoint did not report, or reported too long ago.
#[derive(Clone, Copy, Debug, Default)]
struct Typical {
    waiting: Option<Spread>,
    running: Option<Spread>,
    kv_usage: Option<Spread>,
}

/// Median and maximum of one gauge.
#[derive(Clone, Copy, Debug)]
struct Spread {
    median: f64,
    worst: f64,
}

/// One request in this many may probe a failing endpoint.
const PROBE_SHARE: u64 = 8;
/// How long after its last answer a failing endpoint may be probed again.
const PROBE_AFTER: Duration = Duration::from_millis(250);
/// Separates the choice of probes from other uses of the same hashes.
const PROBE_SALT: u64 = 0x7072_6f62_6500_0000;

// === impl View ===

impl<'a> View<'a> {
    /// The rows for `request`. `matches` has, for each slot, the blocks of the prompt it is believed to hold.
    pub fn new(fleet: &'a Fleet, request: &InferenceRequest, matches: &[u32], now: Timestamp) -> Self {
        let mut view = Self { rows: Vec::with_capacity(fleet.len()), outside_subset: 0, asleep: 0, unreachable: 0 };
        let typical = Typical::of(fleet, now);
        let of = u32::try_from(request.prompt.chain.blocks().len()).unwrap_or(u32::MAX);
        let admitted = Admitted::new(fleet, request.subset.as_ref());
        let mut may_serve = fleet.iter().filter(|(slot, entry)| entry.is_awake() && admitted.has(*slot, entry));
        let anyone_reachable = may_serve.any(|(_, entry)| entry.is_reachable());
        for (slot, entry) in fleet.iter() {
            if !admitted.has(slot, entry) {
                view.outside_subset += 1;
            } else if !entry.is_awake() {
                view.asleep += 1;
            } else if anyone_reachable && !entry.is_reachable() {
                view.unreachable += 1;
            } else {
                let blocks = matches.get(slot.index()).copied().unwrap_or(0).min(of);
                let failing = Some(entry.failure_counts(now)).filter(|counts| counts.are_failing());
                let failing = failing.filter(|_| !may_probe(request, entry, now));
                view.rows.push(row(slot, entry, PrefixMatch { blocks, of }, failing, &typical, now));
            }
        }
        view
    }
}

// === impl View: sessions ===

impl View<'_> {
    /// Marks the rows that the request's session is bound to: the endpoint that its token names, and the one in `slot`.
    pub fn bind(&mut self, session: &Session, slot: Option<Slot>) {
        if session.token.is_none() && slot.is_none() {
            return;
        }
        for row in &mut self.rows {
            let token = session.token.as_ref() == Some(&row.endpoint.id);
            row.session = SessionMatch { token, id: slot == Some(row.slot) };
        }
    }
}

/// Whether this request may probe a failing endpoint. A few may, one at a time and not too soon, so that a recovery is
/// noticed. The result depends only on the request and on what all replicas believe.
fn may_probe(request: &InferenceRequest, entry: &Entry, now: Timestamp) -> bool {
    let content = xxh3_64_with_seed(request.id.as_bytes(), request.content_hash ^ PROBE_SALT);
    mix(content ^ entry.endpoint.id.key().0).is_multiple_of(PROBE_SHARE)
        && entry.open_work().requests == 0
        && now.since(entry.failures_seen()) >= PROBE_AFTER
}

/// One row: the endpoint's report, discounted by its age, and what was dispatched to it since. It is made where it
/// stays, without a copy, because a decision makes one for each endpoint.
#[inline(always)]
fn row<'a>(
    slot: Slot,
    entry: &'a Entry,
    matched: PrefixMatch,
    failing: Option<FailureCounts>,
    typical: &Typical,
    now: Timestamp,
) -> Candidate<'a> {
    let (age, trust, worth) = entry.aged(now);
    let report = entry.report();
    let believed = |gauge: fn(&LoadReport) -> Option<f64>, typical: Option<Spread>, behind: f64| {
        believed(report.and_then(gauge), worth, typical, behind)
    };
    Candidate {
        slot,
        endpoint: &entry.endpoint,
        stages: entry.stages,
        waiting: believed(waiting, typical.waiting, 1.0) + entry.unseen() as f64,
        running: believed(running, typical.running, 1.0),
        kv_usage: believed(LoadReport::kv_usage, typical.kv_usage, 0.0),
        kv_tokens: report.and_then(|report| report.cache).map(CacheGeometry::tokens),
        adapters: report.filter(|_| trust != Trust::Fallback).and_then(|r| r.adapters.as_ref()),
        in_flight: entry.open_work(),
        speed: entry.prefill_speed(),
        matched,
        session: SessionMatch::default(),
        trust,
        age,
        failing,
    }
}

fn waiting(report: &LoadReport) -> Option<f64> {
    report.waiting().map(f64::from)
}

fn running(report: &LoadReport) -> Option<f64> {
    report.running().map(f64::from)
}

/// The believed value of a gauge that was last reported as `reported`, a report that is now worth `worth`.
///
/// A gauge that was never reported takes the pool's median. An old value below the median ends there too: unknown is
/// not idle. An old value above it ends `behind` the worst known one, or where it was: no endpoint becomes the best by
/// silence.
fn believed(reported: Option<f64>, worth: f64, typical: Option<Spread>, behind: f64) -> f64 {
    match (reported, typical) {
        (Some(reported), _) if worth >= 1.0 => reported,
        (Some(reported), Some(Spread { median, worst })) => {
            let end = reported.min(worst + behind).max(median);
            worth * reported + (1.0 - worth) * end
        }
        (Some(reported), None) => reported,
        (None, typical) => typical.map_or(0.0, |typical| typical.median),
    }
}

// === impl Typical ===

impl Typical {
    /// Computed over the exact reports; without any, over the degraded ones; otherwise over the last reports of all.
    /// Computed only if some endpoint needs it, which is never in a healthy pool.
    fn of(fleet: &Fleet, now: Timestamp) -> Self {
        let complete = |entry: &Entry| entry.report().is_some_and(|report| report.missing.is_none());
        if fleet.iter().all(|(_, entry)| entry.trust(now) == Trust::Exact && complete(entry)) {
            return Self::default();
        }
        let reporting = || fleet.iter().filter_map(|(_, entry)| Some((entry.trust(now), entry.report()?)));
        let Some(best) = reporting().map(|(trust, _)| trust).min() else { return Self::default() };
        let known: Vec<&LoadReport> =
            reporting().filter(|(trust, _)| *trust == best).map(|(_, report)| report).collect();
        let spread = |gauge: fn(&LoadReport) -> Option<f64>| {
            let mut values: Vec<f64> = known.iter().filter_map(|report| gauge(report)).collect();
            values.sort_unstable_by(f64::total_cmp);
            Some(Spread { median: *values.get(values.len() / 2)?, worst: *values.last()? })
        };
        Self { waiting: spread(waiting), running: spread(running), kv_usage: spread(LoadReport::kv_usage) }
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
