//! The fact log: this replica's own facts about one pool, numbered. It keeps the newest on each subject, and the last
//! placements and bindings.
//!
//! Must not know lanes or peers. A lane keeps the number of the last fact that it sent, and asks for those after it. A
//! slow lane skips facts that no longer count, so nothing queues up for a slow peer.

mod copy;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::id::{EndpointKey, Incarnation, PoolId, ReplicaId};
use crate::replication::codec;
use crate::replication::encoded::{Encoded, EncodedFact};
use crate::replication::pages;
use crate::replication::record::{Batch, Fact, Record, Subject};
use crate::replication::snapshot::{FactBatch, NewestFact, Snapshot};
use crate::time::Timestamp;

/// Placements and bindings that are kept for peers that join or fall behind; older ones are forgotten. At 32 anchors
/// each this is 6 MiB.
pub const PLACEMENTS_MAX: usize = 16_384;

/// How long a removed endpoint's last fact is kept for peers that were away. A peer that was away for longer receives
/// all facts anew.
pub const REMOVED_KEPT: Duration = Duration::from_secs(60);
/// Removed endpoints whose last fact is kept, at most.
pub const REMOVED_MAX: usize = crate::fleet::ENDPOINTS_MAX;

/// The facts of one replica about one pool.
#[derive(Debug)]
pub struct FactLog {
    me: ReplicaId,
    incarnation: Incarnation,
    pool: PoolId,
    version: u8,
    head: u64,
    facts: BTreeMap<u64, Entry>,
    newest: BTreeMap<Subject, u64>,
    placements: VecDeque<u64>,
    /// Removed endpoints: when they were removed, and the number of their last fact.
    removed: VecDeque<(Timestamp, EndpointKey, u64)>,
    /// The highest number of a forgotten removal. A peer that received less can't be sent what it missed.
    floor: u64,
}

/// A published fact.
#[derive(Debug)]
struct Entry {
    at: Timestamp,
    record: Record,
    encoded: Encoded,
}

/// A fact and its number.
type Numbered<'a> = (&'a u64, &'a Entry);

// === impl FactLog ===

impl FactLog {
    /// A log of the default pool, without facts.
    pub fn new(me: ReplicaId, incarnation: Incarnation) -> Self {
        Self {
            me,
            incarnation,
            pool: PoolId::default(),
            version: codec::VERSION,
            head: 0,
            facts: BTreeMap::new(),
            newest: BTreeMap::new(),
            placements: VecDeque::new(),
            removed: VecDeque::new(),
            floor: 0,
        }
    }

    /// The same log, of `pool`.
    #[must_use]
    pub fn of_pool(self, pool: PoolId) -> Self {
        Self { pool, ..self }
    }

    /// Continues as `incarnation`: peers forget what they received before, and receive all that still counts anew.
    pub fn begin(&mut self, incarnation: Incarnation) {
        self.incarnation = incarnation;
    }

    /// Publishes nothing that wire version `version` does not know.
    pub fn limit(&mut self, version: u8) {
        self.version = version;
    }

    /// Records what was true at `at`.
    pub fn publish(&mut self, record: Record, at: Timestamp) {
        if let Some((record, encoded)) = Self::encode(self.version, record) {
            self.append(record, encoded, at);
        }
    }

    /// `record` as wire version `version` can carry it, and its bytes; `None` when it can't.
    pub fn encode(version: u8, record: Record) -> Option<(Record, Encoded)> {
        let record = codec::within(version, record)?;
        let encoded = Encoded::of(&record);
        Some((record, encoded))
    }

    /// Records what was true at `at`, already encoded.
    pub fn append(&mut self, record: Record, encoded: Encoded, at: Timestamp) {
        self.insert(self.head + 1, record, encoded, at);
    }

    /// Records a fact with the number `seq`, which is above all before it.
    fn insert(&mut self, seq: u64, record: Record, encoded: Encoded, at: Timestamp) {
        self.forget(at);
        self.head = seq;
        if let Record::Removed(endpoint) = record {
            self.removed.push_back((at, endpoint, self.head));
            for subject in [Subject::Load(endpoint), Subject::Failing(endpoint)] {
                self.newest.remove(&subject).map(|seq| self.facts.remove(&seq));
            }
        }
        match record.subject() {
            Some(subject) => {
                if let Some(older) = self.newest.insert(subject, self.head) {
                    self.facts.remove(&older);
                }
            }
            None => {
                self.placements.push_back(self.head);
                if self.placements.len() > PLACEMENTS_MAX
                    && let Some(oldest) = self.placements.pop_front()
                {
                    self.facts.remove(&oldest);
                }
            }
        }
        self.facts.insert(self.head, Entry { at, record, encoded });
    }

    /// Forgets endpoints that were removed long before `now`, and the oldest beyond the bound.
    fn forget(&mut self, now: Timestamp) {
        while let Some(&(at, endpoint, seq)) = self.removed.front()
            && (now.since(at) >= REMOVED_KEPT || self.removed.len() >= REMOVED_MAX)
        {
            self.removed.pop_front();
            let subject = Subject::InFlight(endpoint);
            // An endpoint that came back has a newer fact.
            if self.newest.get(&subject) == Some(&seq) {
                self.newest.remove(&subject);
                self.facts.remove(&seq);
                self.floor = seq;
            }
        }
    }

    /// Withdraws all that was published about endpoints. Their work is gone with its scheduler, and its successor
    /// publishes anew which endpoints there are.
    pub fn withdraw(&mut self, at: Timestamp) {
        let is_gone = |seq: &u64| self.facts.get(seq).is_some_and(|entry| matches!(entry.record, Record::Removed(_)));
        let published = self.newest.iter().filter(|(_, seq)| !is_gone(seq));
        let endpoints: BTreeSet<EndpointKey> = published.map(|(subject, _)| subject.endpoint()).collect();
        endpoints.into_iter().for_each(|endpoint| self.publish(Record::Removed(endpoint), at));
    }

    /// The replica that publishes.
    pub fn me(&self) -> &ReplicaId {
        &self.me
    }

    /// Its incarnation.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The highest wire version that it writes.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// The number of the last fact; `0` before the first.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Subjects with a fact: at most three for each endpoint of the pool, and one for each that was removed recently.
    pub fn subjects(&self) -> usize {
        self.newest.len()
    }

    /// Whether a peer that received all up to `after` can be sent what it missed. If not, it must receive all facts
    /// anew.
    pub fn continues(&self, after: u64) -> bool {
        after == 0 || after >= self.floor && after <= self.head
    }

    /// At most `most` facts that were published after `after`, oldest first; `None` when there are none. `after == 0`
    /// gives the whole state, which is also the answer when [`FactLog::continues`] is false. The next batch continues
    /// at this one's `upto`.
    pub fn since(&self, after: u64, most: usize, now: Timestamp) -> Option<Batch> {
        let (after, upto, entries) = self.after(after, most)?;
        let facts = entries.into_iter().map(|entry| to_fact(entry, now)).collect();
        Some(self.batch(after, upto, facts))
    }

    /// The result of [`FactLog::since`], encoded.
    pub fn batch_after(&self, after: u64, most: usize, now: Timestamp) -> Option<FactBatch> {
        let (after, upto, entries) = self.after(after, most)?;
        let facts = entries.into_iter().map(|entry| to_encoded(entry, now)).collect();
        let (origin, incarnation, pool) = (self.me.clone(), self.incarnation, self.pool.clone());
        Some(FactBatch { origin, incarnation, pool, after, upto, facts })
    }

    /// All that gossip publishes: the newest fact on each subject, and the placements numbered `placements_from` and
    /// later.
    pub fn snapshot(&self, placements_from: u64, now: Timestamp) -> Snapshot {
        let newest = |(subject, seq): (&Subject, &u64)| {
            let (seq, entry) = self.facts.get_key_value(seq)?;
            let counts_for = pages::counts_for(&entry.record);
            let removed = matches!(entry.record, Record::Removed(_));
            Some(NewestFact { subject: *subject, counts_for, removed, fact: to_encoded((seq, entry), now) })
        };
        let first = self.placements.partition_point(|seq| *seq < placements_from);
        let placements = self.placements.range(first..).filter_map(|seq| self.facts.get_key_value(seq));
        Snapshot {
            origin: self.me.clone(),
            incarnation: self.incarnation,
            pool: self.pool.clone(),
            version: self.version,
            head: self.head,
            newest_facts: self.newest.iter().filter_map(newest).collect(),
            placements: placements.map(|entry| to_encoded(entry, now)).collect(),
        }
    }

    /// At most `most` facts after `after`, or from the beginning when that can't be continued. Returns the number that
    /// they continue from, the highest that they cover, and the facts.
    fn after(&self, after: u64, most: usize) -> Option<(u64, u64, Vec<Numbered<'_>>)> {
        let after = if self.continues(after) { after } else { 0 };
        let from = after.checked_add(1)?;
        let entries: Vec<_> = self.facts.range(from..).take(most.max(1)).collect();
        let whole = entries.len() < most.max(1);
        let upto = if whole { self.head } else { entries.last().map_or(self.head, |(seq, _)| **seq) };
        (upto > after).then_some((after, upto, entries))
    }

    /// The newest fact on each subject that `chosen` selects, ordered by subject, as a fragment.
    pub fn newest_facts(&self, chosen: impl Fn(Subject) -> bool, now: Timestamp) -> Batch {
        let numbers = self.newest.iter().filter(|(subject, _)| chosen(**subject)).map(|(_, seq)| *seq);
        self.fragment(numbers, now)
    }

    /// The facts with these numbers, as a fragment.
    pub fn fragment(&self, numbers: impl Iterator<Item = u64>, now: Timestamp) -> Batch {
        let facts = numbers.filter_map(|seq| self.facts.get_key_value(&seq)).map(|entry| to_fact(entry, now));
        self.batch(Batch::FRAGMENT, self.head, facts.collect())
    }

    /// Placements and bindings of any replica, each with its age, as a fragment. They have no number
    /// ([`Fact::HISTORY`]).
    pub fn history(&self, records: Vec<(Record, Duration)>) -> Batch {
        let fact =
            |(record, age)| codec::within(self.version, record).map(|record| Fact { seq: Fact::HISTORY, age, record });
        let facts = records.into_iter().filter_map(fact).collect();
        Batch { upto: 0, ..self.batch(Batch::FRAGMENT, 0, facts) }
    }

    /// The placements numbered `from` and later.
    pub fn placements_from(&self, from: u64) -> impl Iterator<Item = (u64, &Record)> {
        let first = self.placements.partition_point(|seq| *seq < from);
        self.placements.range(first..).filter_map(|seq| self.facts.get(seq).map(|entry| (*seq, &entry.record)))
    }

    fn batch(&self, after: u64, upto: u64, facts: Vec<Fact>) -> Batch {
        let (origin, incarnation, pool) = (self.me.clone(), self.incarnation, self.pool.clone());
        Batch { origin, incarnation, pool, after, upto, facts }
    }
}

fn to_fact((seq, entry): (&u64, &Entry), now: Timestamp) -> Fact {
    Fact { seq: *seq, age: now.since(entry.at), record: entry.record.clone() }
}

fn to_encoded((seq, entry): (&u64, &Entry), now: Timestamp) -> EncodedFact {
    EncodedFact { seq: *seq, age: now.since(entry.at), encoded: entry.encoded.clone() }
}

#[cfg(test)]
#[path = "fact_log_tests.rs"]
#[allow(clippy::unwrap_used)]
mod tests;
