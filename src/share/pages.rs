//! How this replica's facts are laid out as keys and values of gossip: few keys, each small, all within a budget.
//!
//! Must not know chitchat. A gossip value that does not fit a datagram blocks every later key of its node, so size is a
//! matter of construction: pages are packed by the records' own upper bounds, and what does not fit the budget is left
//! to the streams, and counted.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::chance::mix;
use crate::fleet::trust::EXACT_AGE_MAX;
use crate::share::codec;
use crate::share::record::{Batch, Fact, Record, Subject};
use crate::share::speaker::Speaker;
use crate::time::Timestamp;

/// Bytes of a page at most. As text (four characters for three bytes) it stays below 16 KiB.
pub const PAGE_BYTES_MAX: usize = 12_000;
/// Pages of open work, and of load words, beside the one with what is new.
pub const PAGES_OF_A_KIND_MAX: usize = 4;
/// Bytes of news of a kind, after which all of the kind is written.
const NEWS_BYTES: usize = 1_024;
/// For how long a page says what was seen of failures. A lasting one is said again with each answer.
const FAILING_AGE_MAX: Duration = Duration::from_secs(1);
/// Segments of the ring of placements.
pub const SEGMENTS: u64 = 72;
/// Bytes after which a segment is closed and the next begins. Small, for the open one is sent again with each placement.
const SEGMENT_BYTES: usize = 1_024;

/// Keys of one replica at most: two shelves, the ring, the card and the head.
pub const KEYS_MAX: usize = 2 * (PAGES_OF_A_KIND_MAX + 1) + SEGMENTS as usize + 2;

/// A value to set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The key.
    pub key: String,
    /// The value: an encoded [`Batch`].
    pub bytes: Vec<u8>,
}

/// What was set so far.
#[derive(Debug, Default)]
pub struct Pages {
    in_flight: Shelf,
    load: Shelf,
    segment: Segment,
    left_out: u64,
}

/// The pages of one kind, by what was in them when they were set. The first has what is new since the others were written,
/// and is written again with each change; when it is full all is written into the others, and it begins anew. So a change
/// costs what changed of late, and not everything of its kind.
///
/// What the others say may be out of date meanwhile: a hearer goes by the facts' numbers.
#[derive(Debug, Default)]
struct Shelf {
    contents: Vec<u64>,
    /// The highest fact when the others were written.
    settled: u64,
    /// What the others speak of.
    told: BTreeSet<Subject>,
}

/// The open segment of the ring.
#[derive(Debug, Default)]
struct Segment {
    number: u64,
    /// The number of the first placement that belongs into it.
    from: u64,
    /// The highest fact that was looked at.
    seen: u64,
}

// === impl Pages ===

impl Pages {
    /// The pages that changed since the last call.
    pub fn write(&mut self, speaker: &Speaker, now: Timestamp) -> Vec<Page> {
        let mut pages = Vec::new();
        let shares = speaker.words(|subject| matches!(subject, Subject::InFlight(_)), now);
        self.left_out += self.in_flight.write('f', shares, &mut pages);
        let mut loads = speaker.words(|subject| matches!(subject, Subject::Load(_) | Subject::Failing(_)), now);
        loads.facts.retain(counts);
        self.left_out += self.load.write('l', loads, &mut pages);
        self.placements(speaker, now, &mut pages);
        pages
    }

    /// Facts that found no room, each time they did not.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    fn placements(&mut self, speaker: &Speaker, now: Timestamp, pages: &mut Vec<Page>) {
        let news = speaker.placements_from(self.segment.seen + 1).next().is_some();
        self.segment.seen = speaker.head();
        if !news {
            return;
        }
        loop {
            let (mut room, mut next, mut numbers) = (SEGMENT_BYTES, None, Vec::new());
            for (seq, record) in speaker.placements_from(self.segment.from) {
                if room == 0 {
                    next = Some(seq);
                    break;
                }
                room = room.saturating_sub(codec::size_of(record));
                numbers.push(seq);
            }
            let batch = speaker.fragment(numbers.into_iter(), now);
            push(format!("p{}", self.segment.number % SEGMENTS), &batch, pages);
            let Some(next) = next else { return };
            self.segment.number += 1;
            self.segment.from = next;
        }
    }
}

// === impl Shelf ===

impl Shelf {
    fn write(&mut self, prefix: char, all: Batch, pages: &mut Vec<Page>) -> u64 {
        let empty = Batch { facts: Vec::new(), ..all.clone() };
        let is_new = |fact: &&Fact| fact.seq > self.settled;
        let news: usize = all.facts.iter().filter(is_new).map(|fact| codec::size_of(&fact.record)).sum();
        let subjects: BTreeSet<Subject> = all.facts.iter().filter_map(|fact| fact.record.subject()).collect();
        let silent = self.told.iter().any(|subject| !subjects.contains(subject));
        if news <= NEWS_BYTES && !silent {
            let facts = all.facts.iter().filter(is_new).cloned().collect();
            self.set(prefix, 0, Batch { facts, ..empty }, pages);
            return 0;
        }
        (self.settled, self.told) = (all.upto, subjects);
        let (packed, left_out) = pack(all.facts, codec::size_of_empty(&empty.origin));
        let mut packed = packed.into_iter();
        // The others first: whoever hears only the beginning must not take the news back.
        for number in 1..self.contents.len().max(packed.len() + 1) {
            let facts = packed.next().unwrap_or_default();
            self.set(prefix, number, Batch { facts, ..empty.clone() }, pages);
        }
        self.set(prefix, 0, empty, pages);
        left_out
    }

    /// Sets a page if it is not what it was.
    fn set(&mut self, prefix: char, number: usize, page: Batch, pages: &mut Vec<Page>) {
        let content = page.facts.iter().fold(mix(1), |sum, fact| mix(sum ^ fact.seq));
        if self.contents.len() <= number {
            // A page that was never set is as good as an empty one.
            self.contents.resize(number + 1, mix(1));
        }
        if self.contents[number] != content {
            self.contents[number] = content;
            push(format!("{prefix}{number}"), &page, pages);
        }
    }
}

/// Whether a fact is worth a place. How long a page lies with others is told by nobody, so a reading that is no longer exact is taken out:
/// whoever finds it much later would take it for as young as it was when it was written.
fn counts(fact: &Fact) -> bool {
    match fact.record {
        Record::Load(_) => fact.age <= EXACT_AGE_MAX,
        Record::Failing(_) => fact.age <= FAILING_AGE_MAX,
        _ => true,
    }
}

/// Facts in as few pages as hold them, and how many found no room.
fn pack(facts: Vec<Fact>, overhead: usize) -> (Vec<Vec<Fact>>, u64) {
    let mut packed: Vec<Vec<Fact>> = Vec::new();
    let (mut room, mut left_out) = (0, 0);
    for fact in facts {
        let size = codec::size_of(&fact.record);
        if size > room {
            if packed.len() == PAGES_OF_A_KIND_MAX || size > PAGE_BYTES_MAX / 2 {
                left_out += 1;
                continue;
            }
            packed.push(Vec::new());
            room = PAGE_BYTES_MAX - overhead;
        }
        room -= size;
        if let Some(page) = packed.last_mut() {
            page.push(fact);
        }
    }
    (packed, left_out)
}

fn push(key: String, batch: &Batch, pages: &mut Vec<Page>) {
    // A page is far smaller than what the codec refuses.
    if let Ok(bytes) = codec::encode(batch) {
        pages.push(Page { key, bytes });
    }
}

#[cfg(test)]
#[path = "pages_tests.rs"]
mod tests;
