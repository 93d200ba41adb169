//! The layout of this replica's facts as keys and values of gossip: few keys, each small, all within a budget.
//!
//! Must not know chitchat. A gossip value that does not fit a datagram blocks every later key of its node, so sizes are
//! bounded by construction. Pages are packed by the records' own upper bounds. What does not fit the budget is left to
//! the streams, and counted.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::chance::mix;
use crate::fleet::trust::EXACT_AGE_MAX;
use crate::id::PoolId;
use crate::replication::codec;
use crate::replication::encoded::EncodedFact;
use crate::replication::fact_log::FactLog;
use crate::replication::record::{Record, Subject};
use crate::replication::snapshot::{NewestFact, Snapshot};
use crate::time::Timestamp;

/// Bytes of a page at most. As text (four characters for three bytes) it stays below 16 KiB.
pub const PAGE_BYTES_MAX: usize = 12_000;
/// Pages of open work, and of load, at most, beside each kind's page of new facts.
pub const PAGES_PER_KIND_MAX: usize = 4;
/// Bytes of new facts of a kind, beyond which all facts of the kind are written.
const NEWS_BYTES: usize = 1_024;
/// How long a page carries failure counts. A lasting failure is published again with each answer.
const FAILING_AGE_MAX: Duration = Duration::from_secs(1);
/// The content of a page without facts.
const EMPTY: u64 = 1;
/// Segments of the ring of placements.
pub const SEGMENTS: u64 = 72;
/// Bytes after which a segment is closed and the next begins. Small, because the open one is sent again with each
/// placement.
const SEGMENT_BYTES: usize = 1_024;

/// Keys of a replica of one pool at most: two groups, the ring, the card and the head. Each further pool has two
/// groups, a ring and a head of its own.
pub const KEYS_MAX: usize = 2 * (PAGES_PER_KIND_MAX + 1) + SEGMENTS as usize + 2;

/// A value to set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The key.
    pub key: String,
    /// The value: an encoded [`crate::replication::Batch`].
    pub bytes: Vec<u8>,
}

/// The key of a page, and its facts.
type PageOfFacts = (String, Vec<EncodedFact>);

/// What has been set so far.
#[derive(Debug)]
pub struct Pages {
    /// The wire version that all readers know.
    readers: u8,
    in_flight: PageGroup,
    load: PageGroup,
    segment: Segment,
    left_out: u64,
}

/// The pages of one kind, by their content when they were set.
///
/// The first page has the facts that are newer than the other pages, and is written again with each change. When it is
/// full, all facts are written into the other pages, and it starts empty. So a change costs what changed recently, and
/// not everything of its kind.
///
/// The other pages may be out of date meanwhile: a receiver goes by the facts' numbers.
#[derive(Debug, Default)]
struct PageGroup {
    contents: Vec<u64>,
    /// The number of the last fact when the other pages were written.
    settled: u64,
    /// The subjects of the other pages.
    subjects: BTreeSet<Subject>,
}

/// The open segment of the ring.
#[derive(Debug, Default)]
struct Segment {
    number: u64,
    /// The number of the first placement that belongs in it.
    from: u64,
    /// The number of the last fact that was examined.
    seen: u64,
    /// The first numbers of the closed segments that the ring still holds, oldest first.
    closed: VecDeque<u64>,
}

// === impl Pages ===

impl Pages {
    /// Writes what readers of wire version `version` know, from the next call on. Where that is another format, all
    /// pages are set again: a reader that joins must be able to read what was set before.
    pub fn set_readers(&mut self, version: u8) {
        let before = std::mem::replace(&mut self.readers, version);
        // Pages of a pool with a name have one format, and are set again needlessly. That happens once in an upgrade.
        let of_default = PoolId::default();
        if codec::format_for(before, &of_default) != codec::format_for(version, &of_default) {
            self.in_flight.set_again();
            self.load.set_again();
            self.segment.set_again();
        }
    }

    /// The pages that changed since the last call.
    pub fn write(&mut self, fact_log: &FactLog, now: Timestamp) -> Vec<Page> {
        self.update(&fact_log.snapshot(self.placements_from(), now))
    }

    /// The number from which on a snapshot must contain the placements.
    pub fn placements_from(&self) -> u64 {
        self.segment.from
    }

    /// The pages that changed since the last call, from a newer snapshot.
    pub fn update(&mut self, snapshot: &Snapshot) -> Vec<Page> {
        let version = self.readers.min(snapshot.version);
        let facts = self.pages_of_facts(snapshot).into_iter();
        // A page is far smaller than what the codec refuses.
        facts.filter_map(|(key, facts)| Some(Page { key, bytes: snapshot.fragment(version, &facts).ok()? })).collect()
    }

    fn pages_of_facts(&mut self, snapshot: &Snapshot) -> Vec<PageOfFacts> {
        let mut pages = Vec::new();
        let open = |removed| move |newest: &&NewestFact| is_in_flight(newest) && newest.removed == removed;
        // Removed endpoints come last, so that they are left out first.
        let (live, gone) =
            (snapshot.newest_facts.iter().filter(open(false)), snapshot.newest_facts.iter().filter(open(true)));
        self.left_out += self.in_flight.write('f', snapshot, live.chain(gone).collect(), &mut pages);
        let loads = snapshot.newest_facts.iter().filter(|newest| !is_in_flight(newest) && is_worth_a_place(newest));
        self.left_out += self.load.write('l', snapshot, loads.collect(), &mut pages);
        self.placements(snapshot, &mut pages);
        pages
    }

    /// Facts that found no room, counted each time.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    fn placements(&mut self, snapshot: &Snapshot, pages: &mut Vec<PageOfFacts>) {
        let news = snapshot.placements.last().is_some_and(|last| last.seq > self.segment.seen);
        self.segment.seen = snapshot.head;
        if !news {
            return;
        }
        loop {
            let (mut room, mut next, mut facts) = (SEGMENT_BYTES, None, Vec::new());
            for fact in snapshot.placements.iter().filter(|fact| fact.seq >= self.segment.from) {
                if room == 0 {
                    next = Some(fact.seq);
                    break;
                }
                room = room.saturating_sub(fact.encoded.size());
                facts.push(fact.clone());
            }
            pages.push((format!("p{}", self.segment.number % SEGMENTS), facts));
            let Some(next) = next else { return };
            self.segment.close(next);
        }
    }
}

// === impl PageGroup ===

impl PageGroup {
    fn write(&mut self, prefix: char, snapshot: &Snapshot, all: Vec<&NewestFact>, pages: &mut Vec<PageOfFacts>) -> u64 {
        let is_new = |newest: &&&NewestFact| newest.fact.seq > self.settled;
        let news: usize = all.iter().filter(is_new).map(|newest| newest.fact.encoded.size()).sum();
        let subjects: BTreeSet<Subject> = all.iter().map(|newest| newest.subject).collect();
        let omitted = self.subjects.iter().any(|subject| !subjects.contains(subject));
        if news <= NEWS_BYTES && !omitted {
            let facts: Vec<_> = all.iter().filter(is_new).map(|newest| newest.fact.clone()).collect();
            self.set(prefix, 0, facts, pages);
            return 0;
        }
        (self.settled, self.subjects) = (snapshot.head, subjects);
        let (packed, left_out) = pack(&all, codec::size_of_empty(&snapshot.origin, &snapshot.pool));
        let mut packed = packed.into_iter();
        // The other pages first: a peer that receives only the beginning must not lose the new facts.
        for number in 1..self.contents.len().max(packed.len() + 1) {
            let facts = packed.next().unwrap_or_default();
            self.set(prefix, number, facts, pages);
        }
        self.set(prefix, 0, Vec::new(), pages);
        left_out
    }

    /// Sets a page if its content changed.
    fn set(&mut self, prefix: char, number: usize, facts: Vec<EncodedFact>, pages: &mut Vec<PageOfFacts>) {
        let content = facts.iter().fold(EMPTY, |sum, fact| mix(sum ^ fact.seq));
        if self.contents.len() <= number {
            // A page that was never set counts as an empty one.
            self.contents.resize(number + 1, EMPTY);
        }
        if self.contents[number] != content {
            self.contents[number] = content;
            pages.push((format!("{prefix}{number}"), facts));
        }
    }

    /// All pages that hold facts count as changed, and the facts are laid out anew.
    fn set_again(&mut self) {
        self.contents.iter_mut().filter(|content| **content != EMPTY).for_each(|content| *content = !*content);
        self.settled = 0;
    }
}

// === impl Segment ===

impl Segment {
    /// The next segment begins at the number `next`.
    fn close(&mut self, next: u64) {
        self.closed.push_back(self.from);
        if self.closed.len() as u64 >= SEGMENTS {
            self.closed.pop_front();
        }
        self.number += 1;
        self.from = next;
    }

    /// The whole ring is to be written again, under the same keys.
    fn set_again(&mut self) {
        self.number -= self.closed.len() as u64;
        self.from = self.closed.front().copied().unwrap_or(self.from);
        self.seen = 0;
        self.closed.clear();
    }
}

impl Default for Pages {
    fn default() -> Self {
        let (in_flight, load, segment) = (PageGroup::default(), PageGroup::default(), Segment::default());
        Self { readers: codec::VERSION, in_flight, load, segment, left_out: 0 }
    }
}

fn is_in_flight(newest: &NewestFact) -> bool {
    matches!(newest.subject, Subject::InFlight(_))
}

/// The age up to which `record` is worth a place in a page.
pub(super) fn counts_for(record: &Record) -> Duration {
    match record {
        Record::Load(_) => EXACT_AGE_MAX,
        Record::Failing(_) => FAILING_AGE_MAX,
        _ => Duration::MAX,
    }
}

/// Whether a fact is worth a place in a page. A gossip page carries no receive time, so its age is unknown. A reading
/// that is no longer exact is taken out: a late receiver would consider it as young as when it was written.
fn is_worth_a_place(newest: &NewestFact) -> bool {
    newest.fact.age <= newest.counts_for
}

/// Packs facts into as few pages as hold them; also returns how many found no room.
fn pack(newest_facts: &[&NewestFact], overhead: usize) -> (Vec<Vec<EncodedFact>>, u64) {
    let mut packed: Vec<Vec<EncodedFact>> = Vec::new();
    let (mut room, mut left_out) = (0, 0);
    for fact in newest_facts.iter().map(|newest| &newest.fact) {
        let size = fact.encoded.size();
        if size > room {
            if packed.len() == PAGES_PER_KIND_MAX || size > PAGE_BYTES_MAX / 2 {
                left_out += 1;
                continue;
            }
            packed.push(Vec::new());
            room = PAGE_BYTES_MAX - overhead;
        }
        room -= size;
        if let Some(page) = packed.last_mut() {
            page.push(fact.clone());
        }
    }
    (packed, left_out)
}

#[cfg(test)]
#[path = "pages_tests.rs"]
mod tests;
