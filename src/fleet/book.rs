//! The pool's endpoints: dense columns by slot, iterated in the order of their names.
//!
//! Must not know tickets, plugins or the prefix index. It holds what is believed of each endpoint, and how old that is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Bound;
use std::time::Duration;

use crate::event::Event;
use crate::fleet::entry::{Belief, CacheLoss, Entry, UNREACHABLE_AFTER};
use crate::fleet::load::{Observation, Process};
use crate::fleet::{Endpoint, Failures, InFlight, LoadReport, PrefillSpeed, TrustAges};
use crate::id::{EndpointId, EndpointKey, Slot};
use crate::time::Timestamp;

/// Endpoints that one pool may have; more are refused, with an event.
pub const ENDPOINTS_MAX: usize = 4096;

/// The use of a slot by one endpoint. A slot that another endpoint took over is another tenancy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenancy {
    /// The slot.
    pub slot: Slot,
    pub(super) generation: u64,
}

/// All endpoints of the pool.
#[derive(Debug, Default)]
pub struct Fleet {
    columns: Vec<Option<Entry>>,
    by_id: BTreeMap<EndpointId, Slot>,
    /// The same slots in the same order. Every decision walks them, and a list is walked faster than a tree.
    ordered: Vec<Slot>,
    by_address: BTreeMap<SocketAddr, Slot>,
    by_key: BTreeMap<EndpointKey, Slot>,
    tenancies: u64,
    ages: TrustAges,
}

// === impl Fleet ===

impl Fleet {
    /// An empty fleet with these ages of trust.
    pub fn new(ages: TrustAges) -> Self {
        Self { ages, ..Self::default() }
    }

    /// Adds or updates an endpoint. An endpoint whose address changed is another engine: all that was believed of the
    /// old one is dropped, and `Some(slot)` is the slot to forget.
    pub fn upsert(&mut self, endpoint: Endpoint, events: &mut Vec<Event>) -> Option<Slot> {
        let mut forgotten = None;
        if let Some(&slot) = self.by_id.get(&endpoint.id) {
            match self.columns[slot.index()].as_mut() {
                Some(entry) if entry.endpoint.address == endpoint.address => {
                    if entry.endpoint != endpoint {
                        events.push(Event::EndpointJoined(endpoint.id.clone()));
                        entry.stages = endpoint.stages();
                        entry.endpoint = endpoint;
                    }
                    return None;
                }
                _ => forgotten = self.remove(&endpoint.id, events),
            }
        }
        if self.by_id.len() >= ENDPOINTS_MAX {
            let why = format!("the pool already has {ENDPOINTS_MAX} endpoints, the most one replica takes");
            events.push(Event::EndpointRefused { endpoint: endpoint.id.to_string(), why });
            return forgotten;
        }
        let index = self.columns.iter().position(Option::is_none).unwrap_or(self.columns.len());
        if index == self.columns.len() {
            self.columns.push(None);
        }
        // ENDPOINTS_MAX is far below u16::MAX, so the cast keeps its value.
        let slot = Slot(index as u16);
        self.tenancies += 1;
        events.push(Event::EndpointJoined(endpoint.id.clone()));
        let before = |slot: &Slot| self.get(*slot).is_some_and(|entry| entry.endpoint.id < endpoint.id);
        self.ordered.insert(self.ordered.partition_point(before), slot);
        self.by_id.insert(endpoint.id.clone(), slot);
        self.by_address.insert(endpoint.address, slot);
        self.by_key.insert(endpoint.id.key(), slot);
        self.columns[index] = Some(Entry::new(endpoint, self.ages, self.tenancies));
        forgotten
    }

    /// Removes an endpoint; returns its slot, now free.
    pub fn remove(&mut self, id: &EndpointId, events: &mut Vec<Event>) -> Option<Slot> {
        let slot = self.by_id.remove(id)?;
        self.ordered.retain(|other| *other != slot);
        self.by_key.remove(&id.key());
        if let Some(entry) = self.columns[slot.index()].take()
            && self.by_address.get(&entry.endpoint.address) == Some(&slot)
        {
            self.by_address.remove(&entry.endpoint.address);
        }
        events.push(Event::EndpointLeft(id.clone()));
        Some(slot)
    }

    /// Takes in an engine's own report, unless a younger one is already held.
    pub fn observe(&mut self, id: &EndpointId, observation: Observation, now: Timestamp) -> Option<Slot> {
        let slot = self.slot(id)?;
        self.observe_at(slot, observation, now).then_some(slot)
    }

    /// The same for the endpoint in `slot`; `false` if the reading is older than the one held, or the slot is free.
    pub fn observe_at(&mut self, slot: Slot, observation: Observation, now: Timestamp) -> bool {
        let Some(entry) = self.columns.get_mut(slot.index()).and_then(Option::as_mut) else { return false };
        let measured = now - observation.age;
        if entry.belief.as_ref().is_some_and(|belief| belief.measured > measured) {
            return false;
        }
        // Only after the age check: a peer's late, old reading says nothing about a listener that failed since.
        (entry.failed_connects, entry.own_failed_connects) = (0, 0);
        entry.process.follow(observation.report.process);
        entry.unseen.reported(measured);
        entry.belief = Some(Belief { report: observation.report, measured });
        true
    }

    /// Notes that an endpoint's listener could not be reached.
    pub fn unreachable(&mut self, id: &EndpointId) {
        if let Some(entry) = self.by_id.get(id).and_then(|slot| self.columns[slot.index()].as_mut()) {
            entry.failed_connects = entry.failed_connects.saturating_add(1);
            entry.own_failed_connects = entry.own_failed_connects.saturating_add(1);
        }
    }

    /// Notes that an endpoint's keeper can't reach its listener: a confirmed state, not one failed attempt.
    pub fn lost(&mut self, slot: Slot) {
        if let Some(entry) = self.columns.get_mut(slot.index()).and_then(Option::as_mut) {
            entry.failed_connects = entry.failed_connects.max(UNREACHABLE_AFTER);
        }
    }

    /// Why the engine's cache lost what was placed before this own reading of it; `None` if it did not.
    pub fn cache_loss(&self, slot: Slot, report: &LoadReport) -> Option<CacheLoss> {
        self.get(slot).and_then(|entry| entry.cache_loss(report))
    }

    /// Takes in the start of an engine's process from a peer; returns whether that process is newer than the known one.
    pub fn receive_start(&mut self, slot: Slot, started_ms: u64) -> bool {
        let Some(entry) = self.columns.get_mut(slot.index()).and_then(Option::as_mut) else { return false };
        let newer = Process { started_ms: Some(started_ms), work: None };
        let is_newer = entry.process.is_before(newer);
        entry.process.follow(newer);
        is_newer
    }

    /// Counts an answer of a tenancy's endpoint.
    pub fn answered(&mut self, tenancy: Tenancy, failed: bool, now: Timestamp) {
        if let Some(entry) = self.tenant(tenancy) {
            entry.failures.add(failed, now);
        }
    }

    /// Sets the peers' failure counts of an endpoint.
    pub fn set_foreign_failures(&mut self, slot: Slot, failures: Vec<Failures>) {
        if let Some(entry) = self.columns.get_mut(slot.index()).and_then(Option::as_mut) {
            entry.foreign_failures = failures;
        }
    }

    /// Sets the open work of all peers on an endpoint, how many of its requests the report can't include yet, and how
    /// fast the peers saw it compute; `None` if one of them does not say it.
    pub fn set_foreign(&mut self, slot: Slot, foreign: InFlight, unseen: usize, speed: Option<PrefillSpeed>) {
        if let Some(entry) = self.columns.get_mut(slot.index()).and_then(Option::as_mut) {
            (entry.foreign, entry.foreign_unseen, entry.foreign_speed) = (foreign, unseen, speed);
        }
    }

    /// Counts a first token of a tenancy's endpoint, `took` after its dispatch, when `tokens` waited there.
    pub fn first_token(&mut self, tenancy: Tenancy, tokens: u64, took: Duration) {
        if let Some(entry) = self.tenant(tenancy) {
            entry.speed.add(tokens, took);
        }
    }

    /// Reserves the `share` of a dispatched request.
    pub fn reserve(&mut self, slot: Slot, share: InFlight, now: Timestamp) -> Option<Tenancy> {
        let entry = self.columns.get_mut(slot.index())?.as_mut()?;
        entry.in_flight = entry.in_flight.and(share);
        entry.unseen.dispatched(now, None);
        Some(Tenancy { slot, generation: entry.generation })
    }

    /// A reserved `share`, or the part of it that its prompt was, is no longer in flight.
    pub fn release(&mut self, tenancy: Tenancy, share: InFlight) {
        if let Some(entry) = self.tenant(tenancy) {
            entry.in_flight = entry.in_flight.without(share);
            entry.unseen.at_most(entry.in_flight.requests);
        }
    }

    /// Adds an event for each endpoint whose trust changed since its last event.
    pub fn report_trust(&mut self, now: Timestamp, events: &mut Vec<Event>) {
        for slot in &self.ordered {
            let Some(entry) = self.columns[slot.index()].as_mut() else { continue };
            let (from, to) = (entry.trust_reported, entry.trust(now));
            if from != to {
                entry.trust_reported = to;
                events.push(Event::TrustChanged { endpoint: entry.endpoint.id.clone(), from, to });
            }
        }
    }

    /// Adds an event for each endpoint that began or stopped failing since its last event.
    pub fn report_failing(&mut self, now: Timestamp, events: &mut Vec<Event>) {
        for slot in &self.ordered {
            let Some(entry) = self.columns[slot.index()].as_mut() else { continue };
            entry.foreign_failures.retain(|failures| failures.at(now).failures > 0);
            let counts = entry.failure_counts(now);
            if counts.are_failing() != entry.failing_reported {
                entry.failing_reported = !entry.failing_reported;
                let (endpoint, failing) = (entry.endpoint.id.clone(), entry.failing_reported);
                events.push(Event::EndpointFailing { endpoint, failing, counts });
            }
        }
    }

    /// Adds an event if the gauges that an endpoint's last report lacks changed since its last event.
    pub fn report_missing(&mut self, slot: Slot, events: &mut Vec<Event>) {
        let Some(entry) = self.columns.get_mut(slot.index()).and_then(Option::as_mut) else { return };
        let missing = entry.report().map(|report| report.missing).unwrap_or_default();
        if missing != entry.missing_reported {
            entry.missing_reported = missing;
            events.push(Event::GaugesMissing { endpoint: entry.endpoint.id.clone(), missing });
        }
    }

    /// The endpoints, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Entry)> {
        self.ordered.iter().filter_map(|&slot| self.columns[slot.index()].as_ref().map(|entry| (slot, entry)))
    }

    /// The endpoints whose names come after `name`, ordered by name; all of them for `None`.
    pub fn after(&self, name: Option<&EndpointId>) -> impl Iterator<Item = (Slot, &Entry)> {
        let from = name.map_or(Bound::Unbounded, Bound::Excluded);
        let slots = self.by_id.range::<EndpointId, _>((from, Bound::Unbounded)).map(|(_, slot)| *slot);
        slots.filter_map(|slot| self.get(slot).map(|entry| (slot, entry)))
    }

    /// The slot of the endpoint at `address`.
    pub fn at(&self, address: SocketAddr) -> Option<Slot> {
        self.by_address.get(&address).copied()
    }

    /// All addresses with their slots, in ascending order. Of endpoints that share one, only the last is here.
    pub fn addresses(&self) -> impl ExactSizeIterator<Item = (&SocketAddr, &Slot)> {
        self.by_address.iter()
    }

    /// The slot of the endpoint with this key.
    pub fn named(&self, key: EndpointKey) -> Option<Slot> {
        self.by_key.get(&key).copied()
    }

    /// The slot of the endpoint called `id`.
    pub fn slot(&self, id: &EndpointId) -> Option<Slot> {
        self.by_id.get(id).copied()
    }

    /// The endpoint in `slot`.
    pub fn get(&self, slot: Slot) -> Option<&Entry> {
        self.columns.get(slot.index())?.as_ref()
    }

    /// The current tenancy of `slot`.
    pub fn tenancy(&self, slot: Slot) -> Option<Tenancy> {
        self.get(slot).map(|entry| Tenancy { slot, generation: entry.generation })
    }

    /// The endpoint of a tenancy, unless the slot has another tenant by now.
    pub fn tenant_of(&self, tenancy: Tenancy) -> Option<&Entry> {
        self.get(tenancy.slot).filter(|entry| entry.generation == tenancy.generation)
    }

    /// How many slots there are, free ones included: the length of every column.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// How many endpoints there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    fn tenant(&mut self, tenancy: Tenancy) -> Option<&mut Entry> {
        self.columns.get_mut(tenancy.slot.index())?.as_mut().filter(|entry| entry.generation == tenancy.generation)
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
