//! The book of the pool's endpoints: dense columns by slot, walked in the order of their names.
//!
//! Must not know tickets' lives, plugins or the prefix index; it holds what is believed of each endpoint, and how old it is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::event::Event;
use crate::fleet::load::Observation;
use crate::fleet::{Endpoint, InFlight, LoadReport, Trust, Unseen};
use crate::id::{EndpointId, EndpointKey, Slot};
use crate::time::Timestamp;

/// Endpoints that one pool may have; more are refused, and told.
pub const ENDPOINTS_MAX: usize = 4096;

/// Scrapes in a row that must fail to connect before an endpoint is passed over. One refused connection may be a full
/// backlog; two, one interval apart, are a dead listener.
const UNREACHABLE_AFTER: u32 = 2;

/// A slot at one time of its use: a slot that was given to another endpoint since is not the same tenancy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenancy {
    /// The slot.
    pub slot: Slot,
    born: u64,
}

/// What is held of one endpoint.
#[derive(Debug)]
pub struct Entry {
    /// What discovery said.
    pub endpoint: Endpoint,
    /// Open work dispatched from here.
    pub in_flight: InFlight,
    /// Open work dispatched by all peers.
    pub foreign: InFlight,
    belief: Option<Belief>,
    /// When this replica dispatched what the report can't know yet, oldest first.
    unseen: Unseen,
    /// Requests dispatched by peers that the report can't know yet.
    foreign_unseen: usize,
    failed_connects: u32,
    trust_told: Trust,
    born: u64,
}

#[derive(Debug)]
struct Belief {
    report: LoadReport,
    measured: Timestamp,
}

/// All endpoints of the pool.
#[derive(Debug, Default)]
pub struct Fleet {
    columns: Vec<Option<Entry>>,
    by_id: BTreeMap<EndpointId, Slot>,
    by_address: BTreeMap<SocketAddr, Slot>,
    by_key: BTreeMap<EndpointKey, Slot>,
    births: u64,
}

// === impl Fleet ===

impl Fleet {
    /// Takes an endpoint in, or takes its new facts over. An endpoint whose address changed is another engine: all that
    /// was believed of the old one is dropped, and `Some(slot)` says which slot to forget.
    pub fn upsert(&mut self, endpoint: Endpoint, events: &mut Vec<Event>) -> Option<Slot> {
        let mut forgotten = None;
        if let Some(&slot) = self.by_id.get(&endpoint.id) {
            match self.columns[slot.index()].as_mut() {
                Some(entry) if entry.endpoint.address == endpoint.address => {
                    if entry.endpoint != endpoint {
                        events.push(Event::EndpointJoined(endpoint.id.clone()));
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
        self.births += 1;
        events.push(Event::EndpointJoined(endpoint.id.clone()));
        self.by_id.insert(endpoint.id.clone(), slot);
        self.by_address.insert(endpoint.address, slot);
        self.by_key.insert(endpoint.id.key(), slot);
        self.columns[index] = Some(Entry::new(endpoint, self.births));
        forgotten
    }

    /// Drops an endpoint; gives back its slot, now free.
    pub fn remove(&mut self, id: &EndpointId, events: &mut Vec<Event>) -> Option<Slot> {
        let slot = self.by_id.remove(id)?;
        self.by_key.remove(&id.key());
        if let Some(entry) = self.columns[slot.index()].take()
            && self.by_address.get(&entry.endpoint.address) == Some(&slot)
        {
            self.by_address.remove(&entry.endpoint.address);
        }
        events.push(Event::EndpointLeft(id.clone()));
        Some(slot)
    }

    /// Takes an engine's own report in, unless a younger one is already held.
    pub fn observe(&mut self, id: &EndpointId, observation: Observation, now: Timestamp) -> Option<Slot> {
        let slot = *self.by_id.get(id)?;
        let entry = self.columns[slot.index()].as_mut()?;
        let measured = now - observation.age;
        if entry.belief.as_ref().is_some_and(|belief| belief.measured > measured) {
            return None;
        }
        // Not before the age is known: a peer's old reading that comes late says nothing of a listener that died since.
        entry.failed_connects = 0;
        entry.unseen.reported(measured);
        entry.belief = Some(Belief { report: observation.report, measured });
        Some(slot)
    }

    /// Notes that an endpoint's listener could not be reached.
    pub fn unreachable(&mut self, id: &EndpointId) {
        if let Some(entry) = self.by_id.get(id).and_then(|slot| self.columns[slot.index()].as_mut()) {
            entry.failed_connects = entry.failed_connects.saturating_add(1);
        }
    }

    /// Notes that an endpoint's keeper can't reach its listener: a settled word, not one failed attempt.
    pub fn lost(&mut self, slot: Slot) {
        if let Some(entry) = self.columns.get_mut(slot.index()).and_then(Option::as_mut) {
            entry.failed_connects = entry.failed_connects.max(UNREACHABLE_AFTER);
        }
    }

    /// Sets the open work of all peers on an endpoint, and how much of it the report can't know yet.
    pub fn set_foreign(&mut self, slot: Slot, foreign: InFlight, unseen: usize) {
        if let Some(entry) = self.columns.get_mut(slot.index()).and_then(Option::as_mut) {
            (entry.foreign, entry.foreign_unseen) = (foreign, unseen);
        }
    }

    /// Books a dispatched request: `prefill` tokens until its first token, `decode` tokens until its end.
    pub fn reserve(&mut self, slot: Slot, prefill: u64, decode: u64, now: Timestamp) -> Option<Tenancy> {
        let entry = self.columns.get_mut(slot.index())?.as_mut()?;
        let request = InFlight { requests: 1, prefill_tokens: prefill, decode_tokens: decode };
        entry.in_flight = entry.in_flight.and(request);
        entry.unseen.dispatched(now, None);
        Some(Tenancy { slot, born: entry.born })
    }

    /// The request's prompt is computed: its tokens are no longer in flight.
    pub fn release_tokens(&mut self, tenancy: Tenancy, tokens: u64) {
        if let Some(entry) = self.tenant(tenancy) {
            entry.in_flight.prefill_tokens = entry.in_flight.prefill_tokens.saturating_sub(tokens);
        }
    }

    /// The request is over, and with it the `decode` tokens it was booked with.
    pub fn release_request(&mut self, tenancy: Tenancy, decode: u64) {
        if let Some(entry) = self.tenant(tenancy) {
            entry.in_flight.decode_tokens = entry.in_flight.decode_tokens.saturating_sub(decode);
            entry.in_flight.requests = entry.in_flight.requests.saturating_sub(1);
            entry.unseen.at_most(entry.in_flight.requests);
        }
    }

    /// Tells every endpoint whose trust is no longer what was told last.
    pub fn tell_trust(&mut self, now: Timestamp, events: &mut Vec<Event>) {
        for slot in self.by_id.values() {
            let Some(entry) = self.columns[slot.index()].as_mut() else { continue };
            let (from, to) = (entry.trust_told, entry.trust(now));
            if from != to {
                entry.trust_told = to;
                events.push(Event::TrustChanged { endpoint: entry.endpoint.id.clone(), from, to });
            }
        }
    }

    /// The endpoints, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Entry)> {
        self.by_id.values().filter_map(|&slot| self.columns[slot.index()].as_ref().map(|entry| (slot, entry)))
    }

    /// The slot of the endpoint at `address`.
    pub fn at(&self, address: SocketAddr) -> Option<Slot> {
        self.by_address.get(&address).copied()
    }

    /// The slot of the endpoint that replicas call `key`.
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

    /// The tenancy of whoever is in `slot` now.
    pub fn tenancy(&self, slot: Slot) -> Option<Tenancy> {
        self.get(slot).map(|entry| Tenancy { slot, born: entry.born })
    }

    /// The endpoint of a tenancy, unless the slot has another tenant by now.
    pub fn tenant_of(&self, tenancy: Tenancy) -> Option<&Entry> {
        self.get(tenancy.slot).filter(|entry| entry.born == tenancy.born)
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
        self.columns.get_mut(tenancy.slot.index())?.as_mut().filter(|entry| entry.born == tenancy.born)
    }
}

// === impl Entry ===

impl Entry {
    fn new(endpoint: Endpoint, born: u64) -> Self {
        Self {
            endpoint,
            in_flight: InFlight::default(),
            foreign: InFlight::default(),
            belief: None,
            unseen: Unseen::default(),
            foreign_unseen: 0,
            failed_connects: 0,
            trust_told: Trust::Fallback,
            born,
        }
    }

    /// The last report, however old.
    pub fn report(&self) -> Option<&LoadReport> {
        self.belief.as_ref().map(|belief| &belief.report)
    }

    /// When the last report was made.
    pub fn measured(&self) -> Option<Timestamp> {
        self.belief.as_ref().map(|belief| belief.measured)
    }

    /// The last report's age.
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        self.belief.as_ref().map(|belief| now.since(belief.measured))
    }

    /// The trust that the report's age earns.
    pub fn trust(&self, now: Timestamp) -> Trust {
        Trust::of_age(self.age(now))
    }

    /// Whether its listener can be thought to answer.
    pub fn is_reachable(&self) -> bool {
        self.failed_connects < UNREACHABLE_AFTER
    }

    /// Whether the engine would take a request up: a sleeping one lets it hang.
    pub fn is_awake(&self) -> bool {
        self.report().is_none_or(|report| report.awake)
    }

    /// Requests dispatched, by anybody, that the last report can't know.
    pub fn unseen(&self) -> usize {
        self.unseen.len() + self.foreign_unseen
    }

    /// Open work dispatched by anybody.
    pub fn open_work(&self) -> InFlight {
        self.in_flight.and(self.foreign)
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
