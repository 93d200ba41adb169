//! Which series a request is counted in: its own where the budget has room for them, else `other`.
//!
//! Must not know bounds of histograms or names of metrics.
//!
//! All updates happen under one lock, so a late update can't write a series that was removed from the page.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use murmuration::event::{Decided, RequestFinished};
use murmuration::id::{EndpointId, Ticket};
use murmuration::scheduler::FleetSummary;
use prometheus::Error;
use tokio::time::Instant;

use super::families::Families;
use super::legacy_names::LegacyNames;
use super::request_metrics::{RequestMetrics, error_code};
use super::series::{Gone, Key, Names, OTHER, Series, capped};
use super::served_names::ServedNames;

/// What rewrote a model, where no rule did.
const HEADER: &str = "header";
/// The fairness id of requests without one.
const DEFAULT_FLOW: &str = "default-flow";
/// The most requests in progress that are remembered; further ones are not counted as in progress.
const UNDER_WAY_MAX: usize = 1 << 17;
/// The most priorities of deprecated totals that are remembered. Priorities come from the configuration.
const PRIORITIES_MAX: usize = 1_024;

/// Metrics of requests, with their series bounded.
pub(super) struct RequestSeries {
    metrics: RequestMetrics,
    pub(super) legacy: LegacyNames,
    state: Mutex<State>,
}

/// The series that are on the page.
#[derive(Default)]
struct State {
    series: Series,
    served: ServedNames,
    under_way: BTreeMap<Ticket, Shown>,
    priorities: BTreeSet<String>,
}

/// The labels that a request is counted under.
#[derive(Clone, Debug)]
struct Shown {
    request: Key,
    twins: Names,
}

// === impl RequestSeries ===

impl RequestSeries {
    pub(super) fn register(families: &Families<'_>) -> Result<Self, Error> {
        let (metrics, legacy) = (RequestMetrics::register(families)?, LegacyNames::register(families)?);
        Ok(Self { metrics, legacy, state: Mutex::default() })
    }

    pub(super) fn decided(&self, decided: &Decided) {
        let (mut state, now, mut gone) = (self.state(), Instant::now(), Gone::new());
        let names = Names::new(&decided.model, &decided.target_model);
        let priority = decided.priority.to_string();
        let shown = state.shown(&names, &decided.fairness_id, &priority, now, &mut gone);
        self.metrics.counted(&labels(&shown.request));
        self.legacy.counted(&shown.twins, &priority);
        state.remember(&priority);
        self.begin(&mut state, decided.ticket, shown);

        let target = Names::new(&decided.target_model, &decided.target_model);
        let known = state.served.holds(&target);
        let attempt = Key::Attempts(target.target.clone(), decided.endpoint.clone(), decided.port);
        let own = state.series.admit(&attempt, known, now, &mut gone);
        self.metrics.attempted(if own { &target.target } else { OTHER }, &decided.endpoint, decided.port);
        if let Some(split) = &decided.split {
            let key = Key::Split(target.target.clone(), split.handler.name.clone(), split.handler.kind);
            let own = state.series.admit(&key, known, now, &mut gone);
            self.metrics.split(if own { &target.target } else { OTHER }, split);
        }
        if names.model != names.target {
            let known = state.served.holds(&names);
            let by = decided.rewritten_by.as_deref().unwrap_or(HEADER);
            let own = state.series.admit(&Key::Rewrite(names.clone(), by.to_owned()), known, now, &mut gone);
            self.metrics.rewritten(&if own { names } else { Names::other() }, by);
        }
        self.remove(&state, gone);
    }

    pub(super) fn refused(&self, model: &str, status: u16) {
        let (mut state, now, mut gone) = (self.state(), Instant::now(), Gone::new());
        let shown = state.shown(&Names::new(model, model), "", "", now, &mut gone);
        let status = status.to_string();
        self.metrics.counted(&labels(&shown.request));
        self.legacy.counted(&shown.twins, "");
        self.failed(&mut state, &shown, &status, &status);
        self.metrics.attempt_failed(labels(&shown.request)[0]);
        self.remove(&state, gone);
    }

    pub(super) fn finished(&self, finished: &RequestFinished) {
        if finished.decided_after.is_none() {
            return;
        }
        let (mut state, now, mut gone) = (self.state(), Instant::now(), Gone::new());
        let names = Names::new(&finished.model, &finished.target_model);
        // An engine that returned token usage serves that model.
        if finished.usage.is_some() && finished.status.is_some_and(|status| (200..300).contains(&status)) {
            state.served.record(&names.model, now);
            state.served.record(&names.target, now);
        }
        let priority = finished.priority.to_string();
        let shown = state.shown(&names, &finished.fairness_id, &priority, now, &mut gone);
        let known = state.served.holds(&names);
        let own = state.series.admit(&Key::Histograms(names.clone(), priority.clone()), known, now, &mut gone);
        let measured = if own { names } else { Names::other() };
        self.metrics.measured(finished, &[&measured.model, &measured.target, &priority]);
        self.legacy.measured(finished, &shown.twins);
        if let Some(code) = error_code(finished) {
            let status = finished.status.filter(|status| *status >= 400).map(|status| status.to_string());
            self.failed(&mut state, &shown, &code, &status.unwrap_or_default());
        }
        self.remove(&state, gone);
    }

    /// A request is no longer in progress.
    pub(super) fn closed(&self, ticket: Ticket) {
        let mut state = self.state();
        if let Some(shown) = state.under_way.remove(&ticket) {
            self.end(&mut state, &shown);
        }
    }

    /// The scheduler lost its requests in progress: none of them counts any more.
    pub(super) fn forget_under_way(&self) {
        let mut state = self.state();
        for shown in std::mem::take(&mut state.under_way).into_values() {
            self.end(&mut state, &shown);
        }
    }

    /// An endpoint left the pool.
    pub(super) fn endpoint_left(&self, endpoint: &EndpointId) {
        let (mut state, mut gone) = (self.state(), Gone::new());
        state.series.endpoint_left(endpoint, &mut gone);
        self.remove(&state, gone);
    }

    /// Learns which names are served, and removes unused series from the page.
    pub(super) fn age(&self, fleet: &FleetSummary) {
        let (mut state, now, mut gone) = (self.state(), Instant::now(), Gone::new());
        state.served.told_by(fleet, now);
        state.series.age(now, &mut gone);
        self.remove(&state, gone);
    }

    fn begin(&self, state: &mut State, ticket: Ticket, shown: Shown) {
        if state.under_way.len() >= UNDER_WAY_MAX {
            return;
        }
        self.metrics.under_way(&labels(&shown.request), 1.0);
        self.legacy.under_way(&shown.twins.model, 1.0);
        state.series.hold(&shown.request);
        state.series.hold(&Key::Twins(shown.twins.clone()));
        if let Some(before) = state.under_way.insert(ticket, shown) {
            self.end(state, &before);
        }
    }

    fn end(&self, state: &mut State, shown: &Shown) {
        self.metrics.under_way(&labels(&shown.request), -1.0);
        self.legacy.under_way(&shown.twins.model, -1.0);
        state.series.release(&shown.request);
        state.series.release(&Key::Twins(shown.twins.clone()));
    }

    /// Counts an error under its code, and under its status where the deprecated name knows it.
    fn failed(&self, state: &mut State, shown: &Shown, code: &str, status: &str) {
        let code = state.series.code(&shown.request, code);
        self.metrics.failed(&labels(&shown.request), code);
        if !status.is_empty() {
            let status = state.series.code(&Key::Twins(shown.twins.clone()), status);
            self.legacy.failed(&shown.twins, status);
        }
    }

    fn remove(&self, state: &State, gone: Gone) {
        let priorities: Vec<String> = state.priorities.iter().cloned().collect();
        for (key, codes) in gone {
            if let Key::Twins(names) = &key {
                self.legacy.remove(names, &codes, &priorities);
                if !state.series.has_twins(&names.model) {
                    self.legacy.remove_model(&names.model);
                }
            }
            self.metrics.remove(&key, &codes);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    /// The labels of a request's counters: its own, else without its fairness id, else `other`.
    fn shown(&mut self, names: &Names, flow: &str, priority: &str, now: Instant, gone: &mut Gone) -> Shown {
        let served = self.served.holds(names);
        let request =
            |names: &Names, flow: &str| Key::Request(names.clone(), capped(flow).to_owned(), priority.to_owned());
        let is_named = flow != DEFAULT_FLOW && !flow.is_empty();
        let own = request(names, flow);
        let request = if self.series.admit(&own, served && !is_named, now, gone) {
            own
        } else {
            let without = request(names, OTHER);
            let is_shown = is_named && self.series.admit(&without, served, now, gone);
            if is_shown { without } else { request(&Names::other(), OTHER) }
        };
        let twins = self.series.admit(&Key::Twins(names.clone()), served, now, gone);
        Shown { request, twins: if twins { names.clone() } else { Names::other() } }
    }

    fn remember(&mut self, priority: &str) {
        if self.priorities.len() < PRIORITIES_MAX && !self.priorities.contains(priority) {
            self.priorities.insert(priority.to_owned());
        }
    }
}

fn labels(request: &Key) -> [&str; 4] {
    match request {
        Key::Request(names, flow, priority) => [&names.model, &names.target, flow, priority],
        _ => [OTHER; 4],
    }
}
