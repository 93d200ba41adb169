//! Cache losses of engines. A loss voids every earlier placement on that engine.
//!
//! Must not know metrics pages or lanes. A loss and a placement each have a time, so a replica may learn of them in any
//! order and any number of times.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::event::Event;
use crate::fleet::{CacheLoss, ENDPOINTS_MAX, LoadReport};
use crate::id::{BlockHash, EndpointKey, Slot};
use crate::prefix::{PlacedAt, PlacedBy};
use crate::replication::{CacheCleared, Record};
use crate::scheduler::{Outbox, Scheduler};
use crate::time::Timestamp;

/// Older losses are not sent to joiners: ages on the wire end at five days, and no placement is as old.
const HISTORY_LOSS_AGE_MAX: Duration = Duration::from_secs(100 * 3600);

/// The origin of own placements among those that may be revoked. No peer has it but by a collision of 64 bits.
const OWN: u64 = 0;

/// When each endpoint's cache was last lost. Only endpoints that lost one are in it.
#[derive(Debug, Default)]
pub(super) struct Losses {
    last: BTreeMap<EndpointKey, PlacedAt>,
    /// Endpoints that left and may come back, oldest first; the oldest are forgotten.
    left: VecDeque<EndpointKey>,
}

/// What an own reading newly shows of the engine's cache and process.
#[derive(Clone, Copy, Debug)]
pub(super) struct CacheSigns {
    loss: Option<CacheLoss>,
    first_start: bool,
}

// === impl Losses ===

impl Losses {
    /// Records a loss; `false` unless it is later than the last known one.
    fn note(&mut self, endpoint: EndpointKey, at: PlacedAt) -> bool {
        let last = self.last.entry(endpoint).or_insert(PlacedAt::UNKNOWN);
        let later = at > *last;
        *last = at.max(*last);
        later
    }

    /// Whether a placement at `placed` is later than the last known loss.
    fn survives(&self, endpoint: EndpointKey, placed: PlacedAt) -> bool {
        self.last.get(&endpoint).is_none_or(|last| placed > *last)
    }

    /// Drops the loss of an endpoint that is gone, and remembers that it was there.
    pub(super) fn leaves(&mut self, endpoint: EndpointKey) {
        self.last.remove(&endpoint);
        if self.left.len() == ENDPOINTS_MAX {
            self.left.pop_front();
        }
        self.left.push_back(endpoint);
    }

    /// Whether an endpoint that comes was there before. It is asked once.
    pub(super) fn returns(&mut self, endpoint: EndpointKey) -> bool {
        let before = self.left.len();
        self.left.retain(|left| *left != endpoint);
        self.left.len() < before
    }
}

// === impl Scheduler: caches ===

impl Scheduler {
    /// Records a placement on the endpoint in `slot`, unless it lost its cache since, or the placement is revoked. `by`
    /// says who may revoke it; `None` for what a history says.
    pub(super) fn place(
        &mut self,
        slot: Slot,
        by: Option<PlacedBy>,
        anchors: &[BlockHash],
        placed: PlacedAt,
        now: Timestamp,
    ) {
        let Some(key) = self.fleet.get(slot).map(|entry| entry.endpoint.id.key()) else { return };
        let is_revoked = by.is_some_and(|by| self.revocable.is_revoked(slot, by));
        if !self.settings.prefix.enabled || is_revoked || !self.losses.survives(key, placed) {
            return;
        }
        let anchors = if by.is_some() { anchors } else { &anchors[..self.revocable.believed(slot, anchors)] };
        let held = self.index.insert_at(slot, anchors, placed);
        self.revocable.placed(slot, by, (anchors, held), placed, now);
    }

    /// Records that a placement was not computed: the endpoint holds what other placements say. `kept` is how much its
    /// origin believes to be held. Returns how much is.
    pub(super) fn revoke(&mut self, slot: Slot, by: PlacedBy, anchors: &[BlockHash], kept: usize) -> usize {
        // What was held before an own placement may itself have been revoked since.
        let known = if by.origin == OWN { 0 } else { kept };
        let left = self.revocable.revoked(slot, by, anchors, known).unwrap_or(kept);
        self.index.shorten(slot, anchors, left);
        left
    }

    /// Forgets all that the endpoint in `slot` was sent.
    pub(super) fn forget_cache(&mut self, slot: Slot) {
        self.index.clear(slot);
        self.revocable.clear(slot);
    }

    /// The number of this replica's next placement or revocation.
    pub(super) fn own_number(&mut self) -> PlacedBy {
        self.own_number += 1;
        PlacedBy { origin: OWN, seq: self.own_number }
    }

    /// What an own reading newly shows. Call it before the fleet takes the reading in.
    pub(super) fn cache_signs(&self, slot: Slot, report: &LoadReport) -> CacheSigns {
        let knows_start = self.fleet.get(slot).is_some_and(|entry| entry.started_ms().is_some());
        let first_start = !knows_start && report.process.started_ms.is_some();
        CacheSigns { loss: self.fleet.cache_loss(slot, report), first_start }
    }

    /// Acts on what an own reading shows, and publishes it. The first process that is seen is published too: a peer may
    /// know an earlier one, whose keeper is lost.
    pub(super) fn apply_cache_signs(&mut self, slot: Slot, signs: CacheSigns, measured: Timestamp, out: &mut Outbox) {
        if let Some(loss) = signs.loss {
            self.cache_lost(slot, loss, PlacedAt::new(measured, Duration::ZERO), out);
        }
        if signs.loss.is_some() || signs.first_start {
            self.publish_cache(slot, signs.loss.is_some(), measured, out);
        }
    }

    /// Takes in a peer's record of an engine's cache. `dated` says whether its age is reliable.
    pub(super) fn receive_cache_loss(
        &mut self,
        cleared: CacheCleared,
        age: Duration,
        dated: bool,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        let Some(slot) = self.fleet.named(cleared.endpoint) else { return };
        let newer = cleared.started_ms > 0 && self.fleet.receive_start(slot, cleared.started_ms);
        if newer || cleared.lost && dated {
            self.cache_lost(slot, CacheLoss::Told, PlacedAt::new(now, age), out);
        }
        if newer && !cleared.lost {
            // The sender knew no earlier process; other replicas may receive this one as their first.
            self.publish_cache(slot, true, now - age, out);
        }
    }

    /// The endpoint in `slot` is another engine than the one that had its name before. Everybody sees that alike, but the
    /// placements on the former one are in peers' logs, and whoever starts later reads them there.
    pub(super) fn is_another_engine(&mut self, slot: Slot, now: Timestamp, out: &mut Outbox) {
        let Some(endpoint) = self.fleet.get(slot).map(|entry| entry.endpoint.id.key()) else { return };
        self.losses.note(endpoint, PlacedAt::new(now, Duration::ZERO));
        self.publish_cache(slot, true, now, out);
    }

    /// Voids what was placed on the engine in `slot` at `at` or before.
    pub(super) fn cache_lost(&mut self, slot: Slot, loss: CacheLoss, at: PlacedAt, out: &mut Outbox) {
        let Some(endpoint) = self.fleet.get(slot).map(|entry| entry.endpoint.id.clone()) else { return };
        if self.losses.note(endpoint.key(), at) {
            self.index.forget_until(slot, at);
            self.revocable.lost(slot, at);
            out.events.push(Event::CacheCleared { endpoint, loss });
        }
    }

    /// Processes and losses as records for a joiner, each with its age.
    pub(super) fn cache_history(&self, now: Timestamp) -> impl Iterator<Item = (Record, Duration)> + '_ {
        self.fleet.iter().filter_map(move |(_, entry)| {
            let endpoint = entry.endpoint.id.key();
            let lost = self.losses.last.get(&endpoint).map(|at| at.age(now)).filter(|age| *age < HISTORY_LOSS_AGE_MAX);
            let started_ms = entry.started_ms().unwrap_or(0);
            let is_known = lost.is_some() || started_ms > 0;
            let cleared = CacheCleared { endpoint, started_ms, lost: lost.is_some() };
            is_known.then(|| (Record::CacheCleared(cleared), lost.unwrap_or_default()))
        })
    }

    fn publish_cache(&self, slot: Slot, lost: bool, at: Timestamp, out: &mut Outbox) {
        let Some(entry) = self.fleet.get(slot).filter(|_| self.settings.sharing) else { return };
        let (endpoint, started_ms) = (entry.endpoint.id.key(), entry.started_ms().unwrap_or(0));
        out.publish.push((Record::CacheCleared(CacheCleared { endpoint, started_ms, lost }), at));
    }
}
