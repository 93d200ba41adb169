//! The view of the fleet that one decision is made on: rows of what is believed, each discounted by its age.
//!
//! Must not know plugins, nor keep anything between two requests.

use std::time::Duration;

use crate::fleet::trust::{DEGRADED_AGE_MAX, EXACT_AGE_MAX};
use crate::fleet::{Entry, Fleet, Trust};
use crate::id::Slot;
use crate::prefix::PrefixMatch;
use crate::request::{InferenceRequest, Session};
use crate::schedule::{Candidate, SessionMatch};
use crate::time::Timestamp;

/// The rows of one decision, and who is missing from them.
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

/// The middle of what the pool's fresh reports say; stands in for what an endpoint itself did not say.
#[derive(Clone, Copy, Debug, Default)]
struct Typical {
    waiting: f64,
    running: f64,
    kv_usage: f64,
}

// === impl View ===

impl<'a> View<'a> {
    /// The rows for `request`. `matches` has, for each slot, the blocks of the prompt it is believed to hold.
    pub fn new(fleet: &'a Fleet, request: &InferenceRequest, matches: &[u32], now: Timestamp) -> Self {
        let mut view = Self { rows: Vec::with_capacity(fleet.len()), outside_subset: 0, asleep: 0, unreachable: 0 };
        let typical = Typical::of(fleet, now);
        let of = u32::try_from(request.prompt.chain.blocks().len()).unwrap_or(u32::MAX);
        let anyone_reachable = fleet.iter().any(|(_, entry)| may_serve(request, entry) && entry.is_reachable());
        for (slot, entry) in fleet.iter() {
            if !in_subset(request, entry) {
                view.outside_subset += 1;
            } else if !entry.is_awake() {
                view.asleep += 1;
            } else if anyone_reachable && !entry.is_reachable() {
                view.unreachable += 1;
            } else {
                let blocks = matches.get(slot.index()).copied().unwrap_or(0).min(of);
                view.rows.push(row(slot, entry, PrefixMatch { blocks, of }, typical, now));
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

fn in_subset(request: &InferenceRequest, entry: &Entry) -> bool {
    request.subset.as_ref().is_none_or(|subset| subset.contains(&entry.endpoint.address))
}

fn may_serve(request: &InferenceRequest, entry: &Entry) -> bool {
    entry.is_awake() && in_subset(request, entry)
}

/// One row: what the endpoint said, drawn towards what is typical as its word ages, and what was dispatched to it since.
fn row(slot: Slot, entry: &Entry, matched: PrefixMatch, typical: Typical, now: Timestamp) -> Candidate<'_> {
    let age = entry.age(now);
    let trust = Trust::of_age(age);
    let worth = worth(age);
    let said = entry.report();
    let blend = |said: Option<f64>, typical: f64| said.map_or(typical, |said| worth * said + (1.0 - worth) * typical);
    Candidate {
        slot,
        endpoint: &entry.endpoint,
        waiting: blend(said.map(|r| f64::from(r.waiting)), typical.waiting) + entry.unseen() as f64,
        running: blend(said.map(|r| f64::from(r.running)), typical.running),
        kv_usage: blend(said.map(|r| r.kv_usage), typical.kv_usage),
        adapters: said.filter(|_| trust != Trust::Fallback).and_then(|r| r.adapters.as_ref()),
        in_flight: entry.open_work(),
        matched,
        session: SessionMatch::default(),
        trust,
        age,
    }
}

/// What a report of this age is worth, `0..=1`: all of it while exact, then less in a straight line to nothing.
fn worth(age: Option<Duration>) -> f64 {
    let Some(age) = age else { return 0.0 };
    if age <= EXACT_AGE_MAX {
        return 1.0;
    }
    let (age, from, to) = (age.as_secs_f64(), EXACT_AGE_MAX.as_secs_f64(), DEGRADED_AGE_MAX.as_secs_f64());
    ((to - age) / (to - from)).max(0.0)
}

// === impl Typical ===

impl Typical {
    /// The medians over exact reports. Computed only where some endpoint needs them, which in a healthy pool is never.
    fn of(fleet: &Fleet, now: Timestamp) -> Self {
        if fleet.iter().all(|(_, entry)| entry.trust(now) == Trust::Exact) {
            return Self::default();
        }
        let fresh: Vec<_> =
            fleet.iter().filter(|(_, e)| e.trust(now) == Trust::Exact).filter_map(|(_, e)| e.report()).collect();
        let middle = |value: &dyn Fn(&crate::fleet::LoadReport) -> f64| {
            let mut values: Vec<f64> = fresh.iter().map(|report| value(report)).collect();
            values.sort_unstable_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(0.0)
        };
        Self {
            waiting: middle(&|report| f64::from(report.waiting)),
            running: middle(&|report| f64::from(report.running)),
            kv_usage: middle(&|report| report.kv_usage),
        }
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
