//! One budget for all series whose labels come from clients or discovery: some have their own series, others share
//! `other`.
//!
//! Must not know metrics, requests or clocks: callers pass the time and receive the series to remove.
//!
//! The budget is in bytes of the metrics page, the cost for a scraper and this replica. Names that engines are known to
//! serve may use all of it, other names an eighth. A series that is unused for ten minutes is removed. While space is
//! short, a series with few uses is removed sooner, so a thousand names of one request each block nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use murmuration::id::EndpointId;
use tokio::time::Instant;

/// The label value that all names without their own series share.
pub(super) const OTHER: &str = "other";
/// The most bytes of a label's value; longer values are cut.
const VALUE_MAX: usize = 256;
/// The most bytes of the page for all series here.
pub(super) const BYTES_MAX: usize = 32 << 20;
/// The most bytes of the page for series of names that no engine is known to serve.
pub(super) const UNKNOWN_BYTES_MAX: usize = BYTES_MAX / 8;
/// Bytes of a line without the values of its labels.
const LINE: usize = 150;
/// How long an unused series stays.
const UNUSED_MAX: Duration = Duration::from_secs(600);
/// How much each use extends the time that a series stays while space is short.
const FOR_EACH_USE: Duration = Duration::from_secs(10);
/// The interval between two searches for space that are unlikely to find any.
const SEARCH_EVERY: Duration = Duration::from_secs(1);
/// The most error codes of one series.
const CODES_MAX: usize = 6;

/// A model name as the client wrote it, and as it is sent to the engine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Names {
    pub(super) model: String,
    pub(super) target: String,
}

/// Series that are added and removed together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// Counters of requests: names, fairness id, priority.
    Request(Names, String, String),
    /// Histograms of requests: names, priority.
    Histograms(Names, String),
    /// The deprecated twins of both.
    Twins(Names),
    /// Scheduling attempts: target, endpoint, port.
    Attempts(String, EndpointId, u16),
    /// Rewrites, by what rewrote.
    Rewrite(Names, String),
    /// How stages were split: target, and the profile handler's name and type.
    Split(String, String, &'static str),
}

/// Removed series, with the error codes that they had.
pub(super) type Gone = Vec<(Key, Vec<String>)>;

/// The keys that have their own series.
#[derive(Debug, Default)]
pub(super) struct Series {
    entries: BTreeMap<Key, Entry>,
    bytes: usize,
    unknown_bytes: usize,
    searched: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    cost: usize,
    known: bool,
    used: Instant,
    uses: u32,
    /// Requests in progress that are counted in it.
    held: u32,
    codes: Vec<String>,
}

/// `value`, cut to the maximum length of a label's value.
pub(super) fn capped(value: &str) -> &str {
    let mut end = value.len().min(VALUE_MAX);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    &value[..end]
}

// === impl Names ===

impl Names {
    pub(super) fn new(model: &str, target: &str) -> Self {
        Self { model: capped(model).to_owned(), target: capped(target).to_owned() }
    }

    pub(super) fn other() -> Self {
        Self::new(OTHER, OTHER)
    }

    fn bytes(&self) -> usize {
        self.model.len() + self.target.len()
    }
}

// === impl Key ===

impl Key {
    /// Bytes of the page that its series take.
    fn cost(&self) -> usize {
        match self {
            // The total, the number in progress, and errors by code.
            Self::Request(names, flow, _) => (2 + CODES_MAX) * (LINE + names.bytes() + flow.len()),
            // Ten histograms.
            Self::Histograms(names, _) => 220 * (LINE + names.bytes()),
            Self::Twins(names) => 48 * (LINE + names.bytes()),
            Self::Attempts(target, endpoint, _) => LINE + target.len() + endpoint.as_str().len(),
            Self::Rewrite(names, by) => LINE + names.bytes() + by.len(),
            Self::Split(target, handler, kind) => 4 * (LINE + target.len() + handler.len() + kind.len()),
        }
    }
}

// === impl Series ===

impl Series {
    /// Records a use of `key`; `true` when it has its own series. Series removed for that are added to `gone`. `known`
    /// means that engines serve the names in it.
    pub(super) fn admit(&mut self, key: &Key, known: bool, now: Instant, gone: &mut Gone) -> bool {
        if let Some(entry) = self.entries.get_mut(key) {
            (entry.used, entry.uses) = (now, entry.uses.saturating_add(1));
            match (entry.known, known) {
                (true, false) => self.unknown_bytes += entry.cost,
                (false, true) => self.unknown_bytes -= entry.cost,
                _ => {}
            }
            entry.known = known;
            return true;
        }
        let cost = key.cost();
        if !self.has_room(cost, known) && !self.make_room(cost, known, now, gone) {
            return false;
        }
        self.bytes += cost;
        self.unknown_bytes += if known { 0 } else { cost };
        self.entries.insert(key.clone(), Entry { cost, known, used: now, uses: 1, held: 0, codes: Vec::new() });
        true
    }

    /// A request in progress is counted in it: it stays until that request ends.
    pub(super) fn hold(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.held += 1;
        }
    }

    /// A request that was counted in it ended.
    pub(super) fn release(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.held = entry.held.saturating_sub(1);
        }
    }

    /// `code`, or `other` where the series already has too many codes.
    pub(super) fn code<'a>(&mut self, key: &Key, code: &'a str) -> &'a str {
        let Some(entry) = self.entries.get_mut(key) else { return code };
        if entry.codes.iter().any(|known| known == code) {
            return code;
        }
        let code = if entry.codes.len() + 1 < CODES_MAX { code } else { OTHER };
        if !entry.codes.iter().any(|known| known == code) {
            entry.codes.push(code.to_owned());
        }
        code
    }

    /// Removes series that are unused for [`UNUSED_MAX`].
    pub(super) fn age(&mut self, now: Instant, gone: &mut Gone) {
        self.remove_all(gone, |_, entry| entry.held == 0 && now.duration_since(entry.used) > UNUSED_MAX);
    }

    /// Removes the series of an endpoint that left.
    pub(super) fn endpoint_left(&mut self, left: &EndpointId, gone: &mut Gone) {
        self.remove_all(gone, |key, _| matches!(key, Key::Attempts(_, endpoint, _) if endpoint == left));
    }

    /// Whether a model still has deprecated twins, under any target.
    pub(super) fn has_twins(&self, model: &str) -> bool {
        let from = Key::Twins(Names { model: model.to_owned(), target: String::new() });
        let next = self.entries.range(from..).next();
        matches!(next, Some((Key::Twins(names), _)) if names.model == model)
    }

    fn has_room(&self, cost: usize, known: bool) -> bool {
        self.bytes + cost <= BYTES_MAX && (known || self.unknown_bytes + cost <= UNKNOWN_BYTES_MAX)
    }

    /// Removes the least recently used series until there is room.
    fn make_room(&mut self, cost: usize, known: bool, now: Instant, gone: &mut Gone) -> bool {
        let is_likely = known && self.unknown_bytes > 0;
        let is_early = self.searched.is_some_and(|searched| now.duration_since(searched) < SEARCH_EVERY);
        if is_early && !is_likely {
            return false;
        }
        self.searched = Some(now);
        let is_evictable = |entry: &Entry| {
            let stays = (FOR_EACH_USE * entry.uses).min(UNUSED_MAX);
            // An entry used at this very moment belongs to the same request.
            entry.held == 0 && entry.used < now && (known && !entry.known || now.duration_since(entry.used) > stays)
        };
        let mut oldest: Vec<(Instant, Key)> = self
            .entries
            .iter()
            .filter(|(_, entry)| is_evictable(entry))
            .map(|(key, entry)| (entry.used, key.clone()))
            .collect();
        oldest.sort();
        for (_, key) in oldest {
            if self.has_room(cost, known) {
                break;
            }
            self.remove(key, gone);
        }
        self.has_room(cost, known)
    }

    fn remove_all(&mut self, gone: &mut Gone, is_removed: impl Fn(&Key, &Entry) -> bool) {
        let removed: Vec<Key> =
            self.entries.iter().filter(|(key, entry)| is_removed(key, entry)).map(|(key, _)| key.clone()).collect();
        for key in removed {
            self.remove(key, gone);
        }
    }

    fn remove(&mut self, key: Key, gone: &mut Gone) {
        if let Some(entry) = self.entries.remove(&key) {
            self.bytes -= entry.cost;
            self.unknown_bytes -= if entry.known { 0 } else { entry.cost };
            gone.push((key, entry.codes));
        }
    }
}

#[cfg(test)]
#[path = "series_tests.rs"]
mod tests;
