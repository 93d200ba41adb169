//! Which series a request is counted in: its own where the budget has room for them, `other` where not.
//!
//! Must not know bounds of histograms or names of metrics.
//!
//! All is done under one lock, so that a series that is taken off the page is not written again by somebody who was late.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use murmuration::event::{Decided, RequestFinished};
use murmuration::id::{EndpointId, Ticket};
use murmuration::scheduler::FleetSummary;
use prometheus::Error;
use tokio::time::Instant;

use super::families::Families;
use super::request_metrics::{RequestMetrics, error_code};
use super::rival_names::RivalNames;
use super::series::{Gone, Key, Names, OTHER, Series, capped};
use super::served_names::ServedNames;

/// The fairness id of whoever names none.
const DEFAULT_FLOW: &str = "default-flow";
/// Requests under way that are remembered; further ones are not counted as under way.
const UNDER_WAY_MAX: usize = 1 << 17;
/// Priorities that deprecated totals were written under and are remembered. They come from the configuration.
const PRIORITIES_MAX: usize = 1_024;

/// Requests as metrics show them.
pub(super) struct RequestSeries {
    metrics: RequestMetrics,
    pub(super) rivals: RivalNames,
    books: Mutex<Books>,
}

/// What is on the page.
#[derive(Default)]
struct Books {
    series: Series,
    served: ServedNames,
    under_way: BTreeMap<Ticket, Shown>,
    priorities: BTreeSet<String>,
}

/// The labels that a request is shown under.
#[derive(Clone, Debug)]
struct Shown {
    request: Key,
    twins: Names,
}

// === impl RequestSeries ===

impl RequestSeries {
    pub(super) fn register(families: &Families<'_>) -> Result<Self, Error> {
        let (metrics, rivals) = (RequestMetrics::register(families)?, RivalNames::register(families)?);
        Ok(Self { metrics, rivals, books: Mutex::default() })
    }

    pub(super) fn decided(&self, decided: &Decided) {
        let (mut books, now, mut gone) = (self.books(), Instant::now(), Gone::new());
        let names = Names::new(&decided.model, &decided.target_model);
        let priority = decided.priority.to_string();
        let shown = books.shown(&names, &decided.fairness_id, &priority, now, &mut gone);
        self.metrics.counted(&labels(&shown.request));
        self.rivals.counted(&shown.twins, &priority);
        books.remember(&priority);
        self.begin(&mut books, decided.ticket, shown);

        let target = Names::new(&decided.target_model, &decided.target_model);
        let known = books.served.holds(&target);
        let attempt = Key::Attempts(target.target.clone(), decided.endpoint.clone(), decided.port);
        let own = books.series.admit(&attempt, known, now, &mut gone);
        self.metrics.attempted(if own { &target.target } else { OTHER }, &decided.endpoint, decided.port);
        if names.model != names.target {
            let known = books.served.holds(&names);
            let own = books.series.admit(&Key::Rewrite(names.clone()), known, now, &mut gone);
            self.metrics.rewritten(&if own { names } else { Names::other() });
        }
        self.remove(&books, gone);
    }

    pub(super) fn refused(&self, model: &str, status: u16) {
        let (mut books, now, mut gone) = (self.books(), Instant::now(), Gone::new());
        let shown = books.shown(&Names::new(model, model), "", "", now, &mut gone);
        let status = status.to_string();
        self.metrics.counted(&labels(&shown.request));
        self.rivals.counted(&shown.twins, "");
        self.failed(&mut books, &shown, &status, &status);
        self.metrics.attempt_failed(labels(&shown.request)[0]);
        self.remove(&books, gone);
    }

    pub(super) fn finished(&self, finished: &RequestFinished) {
        if finished.decided_after.is_none() {
            return;
        }
        let (mut books, now, mut gone) = (self.books(), Instant::now(), Gone::new());
        let names = Names::new(&finished.model, &finished.target_model);
        // Whoever counted tokens serves that model.
        if finished.usage.is_some() && finished.status.is_some_and(|status| (200..300).contains(&status)) {
            books.served.told(&names.model, now);
            books.served.told(&names.target, now);
        }
        let priority = finished.priority.to_string();
        let shown = books.shown(&names, &finished.fairness_id, &priority, now, &mut gone);
        let known = books.served.holds(&names);
        let own = books.series.admit(&Key::Histograms(names.clone(), priority.clone()), known, now, &mut gone);
        let measured = if own { names } else { Names::other() };
        self.metrics.measured(finished, &[&measured.model, &measured.target, &priority]);
        self.rivals.measured(finished, &shown.twins);
        if let Some(code) = error_code(finished) {
            let status = finished.status.filter(|status| *status >= 400).map(|status| status.to_string());
            self.failed(&mut books, &shown, &code, &status.unwrap_or_default());
        }
        self.remove(&books, gone);
    }

    /// A request is no longer under way.
    pub(super) fn closed(&self, ticket: Ticket) {
        let mut books = self.books();
        if let Some(shown) = books.under_way.remove(&ticket) {
            self.end(&mut books, &shown);
        }
    }

    /// The books of requests under way were lost, and start anew.
    pub(super) fn forget_under_way(&self) {
        let mut books = self.books();
        for shown in std::mem::take(&mut books.under_way).into_values() {
            self.end(&mut books, &shown);
        }
    }

    /// An endpoint is gone.
    pub(super) fn endpoint_left(&self, endpoint: &EndpointId) {
        let (mut books, mut gone) = (self.books(), Gone::new());
        books.series.endpoint_left(endpoint, &mut gone);
        self.remove(&books, gone);
    }

    /// Learns which names are served, and takes off the page what nobody used for a while.
    pub(super) fn age(&self, fleet: &FleetSummary) {
        let (mut books, now, mut gone) = (self.books(), Instant::now(), Gone::new());
        books.served.told_by(fleet, now);
        books.series.age(now, &mut gone);
        self.remove(&books, gone);
    }

    fn begin(&self, books: &mut Books, ticket: Ticket, shown: Shown) {
        if books.under_way.len() >= UNDER_WAY_MAX {
            return;
        }
        self.metrics.under_way(&labels(&shown.request), 1.0);
        self.rivals.under_way(&shown.twins.model, 1.0);
        books.series.hold(&shown.request);
        books.series.hold(&Key::Twins(shown.twins.clone()));
        if let Some(before) = books.under_way.insert(ticket, shown) {
            self.end(books, &before);
        }
    }

    fn end(&self, books: &mut Books, shown: &Shown) {
        self.metrics.under_way(&labels(&shown.request), -1.0);
        self.rivals.under_way(&shown.twins.model, -1.0);
        books.series.release(&shown.request);
        books.series.release(&Key::Twins(shown.twins.clone()));
    }

    /// Counts an error under its code, and under its status where the deprecated name knows it.
    fn failed(&self, books: &mut Books, shown: &Shown, code: &str, status: &str) {
        let code = books.series.code(&shown.request, code);
        self.metrics.failed(&labels(&shown.request), code);
        if !status.is_empty() {
            let status = books.series.code(&Key::Twins(shown.twins.clone()), status);
            self.rivals.failed(&shown.twins, status);
        }
    }

    fn remove(&self, books: &Books, gone: Gone) {
        let priorities: Vec<String> = books.priorities.iter().cloned().collect();
        for (key, codes) in gone {
            if let Key::Twins(names) = &key {
                self.rivals.remove(names, &codes, &priorities);
                if !books.series.has_twins(&names.model) {
                    self.rivals.remove_model(&names.model);
                }
            }
            self.metrics.remove(&key, &codes);
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Books ===

impl Books {
    /// The labels of a request's counters: its own, or without its fairness id, or none of its own.
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
