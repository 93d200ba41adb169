//! One budget for all series whose labels clients or discovery choose: who has a series of its own, and who shares `other`.
//!
//! Must not know metrics, requests or clocks: it is told the time, and says which series are over.
//!
//! The budget is in bytes of the metrics page, because that is what a scraper and this replica pay for. Names that engines
//! are known to serve may use all of it, names that somebody made up an eighth. What was not used for ten minutes goes. While
//! room is short, what was used a few times goes sooner, so that a thousand names of one request each hold nothing up.

use std::collections::BTreeMap;
use std::time::Duration;

use murmuration::id::EndpointId;
use tokio::time::Instant;

/// The name that all share who have no series of their own.
pub(super) const OTHER: &str = "other";
/// Bytes of a label's value at most; more are cut.
const VALUE_MAX: usize = 256;
/// Bytes of the page for all series here.
pub(super) const BYTES_MAX: usize = 32 << 20;
/// Bytes of the page for series of names that nobody is known to serve.
pub(super) const UNKNOWN_BYTES_MAX: usize = BYTES_MAX / 8;
/// Bytes of a line beside the values of its labels.
const LINE: usize = 150;
/// How long a series stays that nobody uses.
const UNUSED_MAX: Duration = Duration::from_secs(600);
/// What each use adds to the time that a series stays while room is short.
const FOR_EACH_USE: Duration = Duration::from_secs(10);
/// From one search for room to the next, where it is likely to find none.
const SEARCH_EVERY: Duration = Duration::from_secs(1);
/// Error codes of one series.
const CODES_MAX: usize = 6;

/// A model as the client wrote it and as the engine is asked for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Names {
    pub(super) model: String,
    pub(super) target: String,
}

/// Series that come and go together.
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
    /// Rewrites.
    Rewrite(Names),
}

/// Series that are over, with the error codes that they had.
pub(super) type Gone = Vec<(Key, Vec<String>)>;

/// Who has series of its own.
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
    /// Requests under way that are counted in it.
    held: u32,
    codes: Vec<String>,
}

/// `value`, cut where it is longer than a label's value may be.
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
            // The total, the number under way, and errors by code.
            Self::Request(names, flow, _) => (2 + CODES_MAX) * (LINE + names.bytes() + flow.len()),
            // Ten histograms.
            Self::Histograms(names, _) => 220 * (LINE + names.bytes()),
            Self::Twins(names) => 48 * (LINE + names.bytes()),
            Self::Attempts(target, endpoint, _) => LINE + target.len() + endpoint.as_str().len(),
            Self::Rewrite(names) => LINE + names.bytes(),
        }
    }
}

// === impl Series ===

impl Series {
    /// Whether `key` has series of its own, now that it is used; what had to go for that is added to `gone`. `known` says
    /// that engines serve what it names.
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

    /// A request under way is counted in it: it stays until that is over.
    pub(super) fn hold(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.held += 1;
        }
    }

    /// A request that was counted in it is over.
    pub(super) fn release(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.held = entry.held.saturating_sub(1);
        }
    }

    /// `code`, or `other` where the series has too many codes already.
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

    /// Takes out what was not used for a while.
    pub(super) fn age(&mut self, now: Instant, gone: &mut Gone) {
        self.take_out(gone, |_, entry| entry.held == 0 && now.duration_since(entry.used) > UNUSED_MAX);
    }

    /// Takes out the series of an endpoint that is gone.
    pub(super) fn endpoint_left(&mut self, left: &EndpointId, gone: &mut Gone) {
        self.take_out(gone, |key, _| matches!(key, Key::Attempts(_, endpoint, _) if endpoint == left));
    }

    /// Whether a model has twins left, under any target.
    pub(super) fn has_twins(&self, model: &str) -> bool {
        let from = Key::Twins(Names { model: model.to_owned(), target: String::new() });
        let next = self.entries.range(from..).next();
        matches!(next, Some((Key::Twins(names), _)) if names.model == model)
    }

    fn has_room(&self, cost: usize, known: bool) -> bool {
        self.bytes + cost <= BYTES_MAX && (known || self.unknown_bytes + cost <= UNKNOWN_BYTES_MAX)
    }

    /// Takes out what was used least lately until there is room.
    fn make_room(&mut self, cost: usize, known: bool, now: Instant, gone: &mut Gone) -> bool {
        let is_likely = known && self.unknown_bytes > 0;
        let is_early = self.searched.is_some_and(|searched| now.duration_since(searched) < SEARCH_EVERY);
        if is_early && !is_likely {
            return false;
        }
        self.searched = Some(now);
        let gives_way = |entry: &Entry| {
            let stays = (FOR_EACH_USE * entry.uses).min(UNUSED_MAX);
            // What was used at this very moment belongs to the same request.
            entry.held == 0 && entry.used < now && (known && !entry.known || now.duration_since(entry.used) > stays)
        };
        let mut oldest: Vec<(Instant, Key)> = self
            .entries
            .iter()
            .filter(|(_, entry)| gives_way(entry))
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

    fn take_out(&mut self, gone: &mut Gone, is_over: impl Fn(&Key, &Entry) -> bool) {
        let over: Vec<Key> =
            self.entries.iter().filter(|(key, entry)| is_over(key, entry)).map(|(key, _)| key.clone()).collect();
        for key in over {
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
