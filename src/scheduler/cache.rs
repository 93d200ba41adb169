//! Which engines lost their cache, and what is believed of it then: nothing that was placed there before.
//!
//! Must not know pages or lanes. A loss is a moment, and a placement has one too, so it does not matter in what order a
//! replica learns of them, nor how often.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::Event;
use crate::fleet::{CacheLoss, LoadReport};
use crate::id::{BlockHash, EndpointKey, Slot};
use crate::prefix::PlacedAt;
use crate::replication::{CacheCleared, Record};
use crate::scheduler::{Outbox, Scheduler};
use crate::time::Timestamp;

/// Losses that are older are not told to newcomers: ages on the wire end at five days, and no placement is as old.
const TOLD_AGE_MAX: Duration = Duration::from_secs(100 * 3600);

/// When each endpoint's cache was last lost. As many as there are endpoints that lost one.
#[derive(Debug, Default)]
pub(super) struct Losses {
    last: BTreeMap<EndpointKey, PlacedAt>,
}

/// What an own reading says of the engine's cache and process, beside what was known before.
#[derive(Clone, Copy, Debug)]
pub(super) struct CacheSigns {
    loss: Option<CacheLoss>,
    first_start: bool,
}

// === impl Losses ===

impl Losses {
    /// Notes a loss; `false` when a later one is known.
    fn note(&mut self, endpoint: EndpointKey, at: PlacedAt) -> bool {
        let last = self.last.entry(endpoint).or_insert(PlacedAt::EVER);
        let later = at > *last;
        *last = at.max(*last);
        later
    }

    /// Whether what was placed at `placed` is still there, as far as losses tell.
    fn spared(&self, endpoint: EndpointKey, placed: PlacedAt) -> bool {
        self.last.get(&endpoint).is_none_or(|last| placed > *last)
    }

    /// The endpoint is gone, or another engine.
    pub(super) fn forget(&mut self, endpoint: EndpointKey) {
        self.last.remove(&endpoint);
    }
}

// === impl Scheduler: caches ===

impl Scheduler {
    /// Notes that the endpoint in `slot` was sent a prompt, unless it lost its cache since.
    pub(super) fn place(&mut self, slot: Slot, anchors: &[BlockHash], placed: PlacedAt) {
        let Some(key) = self.fleet.get(slot).map(|entry| entry.endpoint.id.key()) else { return };
        if self.settings.prefix.enabled && self.losses.spared(key, placed) {
            self.index.insert_at(slot, anchors, placed);
        }
    }

    /// What an own reading says that was not known before it; to be asked before the fleet takes it in.
    pub(super) fn cache_signs(&self, slot: Slot, report: &LoadReport) -> CacheSigns {
        let knows_start = self.fleet.get(slot).is_some_and(|entry| entry.started_ms().is_some());
        let first_start = !knows_start && report.process.started_ms.is_some();
        CacheSigns { loss: self.fleet.cache_loss(slot, report), first_start }
    }

    /// Acts on what an own reading said, and tells peers. A process that is seen first is told too: a peer may have known
    /// an earlier one, whose keeper died with it.
    pub(super) fn take_cache_signs(&mut self, slot: Slot, signs: CacheSigns, measured: Timestamp, out: &mut Outbox) {
        if let Some(loss) = signs.loss {
            self.cache_lost(slot, loss, PlacedAt::new(measured, Duration::ZERO), out);
        }
        if signs.loss.is_some() || signs.first_start {
            self.say_cache(slot, signs.loss.is_some(), measured, out);
        }
    }

    /// A peer told of an engine's cache. `dated` says whether the age of what it told is true.
    pub(super) fn heard_cache(
        &mut self,
        word: CacheCleared,
        age: Duration,
        dated: bool,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        let Some(slot) = self.fleet.named(word.endpoint) else { return };
        let newer = word.started_ms > 0 && self.fleet.heard_start(slot, word.started_ms);
        if newer || word.lost && dated {
            self.cache_lost(slot, CacheLoss::Told, PlacedAt::new(now, age), out);
        }
        if newer && !word.lost {
            // Its teller knew of no earlier process; others may hear of this one as their first.
            self.say_cache(slot, true, now - age, out);
        }
    }

    /// What the engine in `slot` was sent at `at` or before is no longer believed to be there.
    pub(super) fn cache_lost(&mut self, slot: Slot, loss: CacheLoss, at: PlacedAt, out: &mut Outbox) {
        let Some(endpoint) = self.fleet.get(slot).map(|entry| entry.endpoint.id.clone()) else { return };
        if self.losses.note(endpoint.key(), at) {
            self.index.forget_until(slot, at);
            out.events.push(Event::CacheCleared { endpoint, loss });
        }
    }

    /// What a newcomer is told of processes and losses, each with its age.
    pub(super) fn cache_history(&self, now: Timestamp) -> impl Iterator<Item = (Record, Duration)> + '_ {
        self.fleet.iter().filter_map(move |(_, entry)| {
            let endpoint = entry.endpoint.id.key();
            let lost = self.losses.last.get(&endpoint).map(|at| at.age(now)).filter(|age| *age < TOLD_AGE_MAX);
            let started_ms = entry.started_ms().unwrap_or(0);
            let worth_it = lost.is_some() || started_ms > 0;
            let word = CacheCleared { endpoint, started_ms, lost: lost.is_some() };
            worth_it.then(|| (Record::CacheCleared(word), lost.unwrap_or_default()))
        })
    }

    fn say_cache(&self, slot: Slot, lost: bool, at: Timestamp, out: &mut Outbox) {
        let Some(entry) = self.fleet.get(slot).filter(|_| self.settings.sharing) else { return };
        let (endpoint, started_ms) = (entry.endpoint.id.key(), entry.started_ms().unwrap_or(0));
        out.publish.push((Record::CacheCleared(CacheCleared { endpoint, started_ms, lost }), at));
    }
}
