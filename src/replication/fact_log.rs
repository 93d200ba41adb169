//! What this replica has to say: its facts, numbered, the newest of each kind, and the last placements and bindings.
//!
//! Must not know lanes or peers. A lane keeps the number up to which it has spoken and asks for what came after; one that
//! falls behind skips what no longer counts, so nothing queues up for a slow peer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::id::{EndpointKey, Incarnation, ReplicaId};
use crate::replication::codec;
use crate::replication::encoded::{Encoded, EncodedFact};
use crate::replication::pages;
use crate::replication::record::{Batch, Fact, Record, Subject};
use crate::replication::snapshot::{FactBatch, NewestFact, Snapshot};
use crate::time::Timestamp;

/// Placements and bindings that are kept for peers that join or fall behind; older ones are forgotten. At 32 anchors each this is 6 MiB.
pub const PLACEMENTS_MAX: usize = 16_384;

/// How long a removed endpoint's last word is kept for peers that were away. One that was away for longer hears all anew.
pub const REMOVED_KEPT: Duration = Duration::from_secs(60);
/// Removed endpoints whose last word is kept.
pub const REMOVED_MAX: usize = crate::fleet::ENDPOINTS_MAX;

/// The least age that placements of history are told with: where blocks are, and no longer what load there is.
pub const HISTORY_AGE: Duration = Duration::from_secs(2);

/// The facts of one replica.
#[derive(Debug)]
pub struct FactLog {
    me: ReplicaId,
    incarnation: Incarnation,
    version: u8,
    head: u64,
    facts: BTreeMap<u64, Entry>,
    newest: BTreeMap<Subject, u64>,
    placements: VecDeque<u64>,
    /// Removed endpoints, when and under which number their last word was said.
    removed: VecDeque<(Timestamp, EndpointKey, u64)>,
    /// The highest number of a word on a removed endpoint that is kept no more: whoever heard less can't be told what it
    /// missed.
    floor: u64,
}

/// A fact as it was said.
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
    /// A replica that has said nothing yet.
    pub fn new(me: ReplicaId, incarnation: Incarnation) -> Self {
        let (facts, newest, placements, removed) = (BTreeMap::new(), BTreeMap::new(), VecDeque::new(), VecDeque::new());
        Self { me, incarnation, version: codec::VERSION, head: 0, facts, newest, placements, removed, floor: 0 }
    }

    /// Goes on as `incarnation`: peers forget what they heard before, and hear all that still counts anew.
    pub fn begin(&mut self, incarnation: Incarnation) {
        self.incarnation = incarnation;
    }

    /// Says nothing that the wire version `version` does not know.
    pub fn limit(&mut self, version: u8) {
        self.version = version;
    }

    /// Notes what was true at `at`.
    pub fn publish(&mut self, record: Record, at: Timestamp) {
        if let Some((record, encoded)) = Self::encode(self.version, record) {
            self.append(record, encoded, at);
        }
    }

    /// `record` as the wire version `version` can say it, and its bytes; `None` where it can't.
    pub fn encode(version: u8, record: Record) -> Option<(Record, Encoded)> {
        let record = codec::within(version, record)?;
        // Only more than a whole batch can't be encoded, and no record is so large.
        let encoded = Encoded::of(&record).ok()?;
        Some((record, encoded))
    }

    /// Notes what was true at `at`, and is encoded already.
    pub fn append(&mut self, record: Record, encoded: Encoded, at: Timestamp) {
        self.forget(at);
        self.head += 1;
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
            // An endpoint that came back has said more since.
            if self.newest.get(&subject) == Some(&seq) {
                self.newest.remove(&subject);
                self.facts.remove(&seq);
                self.floor = seq;
            }
        }
    }

    /// Takes back all that was said of endpoints: whoever held their work is gone, and whoever comes after says anew what
    /// endpoints there are.
    pub fn withdraw(&mut self, at: Timestamp) {
        let is_gone = |seq: &u64| self.facts.get(seq).is_some_and(|said| matches!(said.record, Record::Removed(_)));
        let told = self.newest.iter().filter(|(_, seq)| !is_gone(seq));
        let endpoints: BTreeSet<EndpointKey> = told.map(|(subject, _)| subject.endpoint()).collect();
        endpoints.into_iter().for_each(|endpoint| self.publish(Record::Removed(endpoint), at));
    }

    /// Who speaks.
    pub fn me(&self) -> &ReplicaId {
        &self.me
    }

    /// In which life.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The highest wire version that it speaks.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// The number of the last fact; `0` before the first.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Subjects that something is held of: at most two for each endpoint of the pool, and one for each that was removed of late.
    pub fn subjects(&self) -> usize {
        self.newest.len()
    }

    /// Whether a peer that heard all up to `after` can be told what it missed. If not, it must hear all anew.
    pub fn continues(&self, after: u64) -> bool {
        after == 0 || after >= self.floor && after <= self.head
    }

    /// What was said after `after`, at most `most` facts, oldest first; `None` when there is nothing. `after == 0` is the
    /// whole state, and is what is told where [`FactLog::continues`] is false. The next batch continues at this one's `upto`.
    pub fn since(&self, after: u64, most: usize, now: Timestamp) -> Option<Batch> {
        let (after, upto, said) = self.after(after, most)?;
        let facts = said.into_iter().map(|said| told(said, now)).collect();
        Some(self.batch(after, upto, facts))
    }

    /// What [`FactLog::since`] gives, encoded.
    pub fn batch_after(&self, after: u64, most: usize, now: Timestamp) -> Option<FactBatch> {
        let (after, upto, said) = self.after(after, most)?;
        let facts = said.into_iter().map(|said| encoded(said, now)).collect();
        Some(FactBatch { origin: self.me.clone(), incarnation: self.incarnation, after, upto, facts })
    }

    /// All that gossip tells: the newest newest_facts, and the placements numbered `placements_from` and later.
    pub fn snapshot(&self, placements_from: u64, now: Timestamp) -> Snapshot {
        let word = |(subject, seq): (&Subject, &u64)| {
            let (seq, said) = self.facts.get_key_value(seq)?;
            let counts_for = pages::counts_for(&said.record);
            let removed = matches!(said.record, Record::Removed(_));
            Some(NewestFact { subject: *subject, counts_for, removed, fact: encoded((seq, said), now) })
        };
        let first = self.placements.partition_point(|seq| *seq < placements_from);
        let placements = self.placements.range(first..).filter_map(|seq| self.facts.get_key_value(seq));
        Snapshot {
            origin: self.me.clone(),
            incarnation: self.incarnation,
            head: self.head,
            newest_facts: self.newest.iter().filter_map(word).collect(),
            placements: placements.map(|said| encoded(said, now)).collect(),
        }
    }

    /// What was said after `after`, or from the beginning where that can't be continued: at most `most` facts, from where to
    /// where they speak, and themselves.
    fn after(&self, after: u64, most: usize) -> Option<(u64, u64, Vec<Numbered<'_>>)> {
        let after = if self.continues(after) { after } else { 0 };
        let from = after.checked_add(1)?;
        let said: Vec<_> = self.facts.range(from..).take(most.max(1)).collect();
        let whole = said.len() < most.max(1);
        let upto = if whole { self.head } else { said.last().map_or(self.head, |(seq, _)| **seq) };
        (upto > after).then_some((after, upto, said))
    }

    /// The newest word on each subject that `chosen` wants, ordered by subject, as a fragment.
    pub fn newest_facts(&self, chosen: impl Fn(Subject) -> bool, now: Timestamp) -> Batch {
        let numbers = self.newest.iter().filter(|(subject, _)| chosen(**subject)).map(|(_, seq)| *seq);
        self.fragment(numbers, now)
    }

    /// The placements with these numbers, as a fragment.
    pub fn fragment(&self, numbers: impl Iterator<Item = u64>, now: Timestamp) -> Batch {
        let facts = numbers.filter_map(|seq| self.facts.get_key_value(&seq)).map(|fact| told(fact, now));
        self.batch(Batch::FRAGMENT, self.head, facts.collect())
    }

    /// Placements and bindings that somebody made, each so long ago, as a fragment: they have no number ([`Fact::HISTORY`]).
    pub fn history(&self, told: Vec<(Record, Duration)>) -> Batch {
        let fact =
            |(record, age)| codec::within(self.version, record).map(|record| Fact { seq: Fact::HISTORY, age, record });
        let facts = told.into_iter().filter_map(fact).collect();
        Batch { upto: 0, ..self.batch(Batch::FRAGMENT, 0, facts) }
    }

    /// The placements numbered `from` and later.
    pub fn placements_from(&self, from: u64) -> impl Iterator<Item = (u64, &Record)> {
        let first = self.placements.partition_point(|seq| *seq < from);
        self.placements.range(first..).filter_map(|seq| self.facts.get(seq).map(|said| (*seq, &said.record)))
    }

    fn batch(&self, after: u64, upto: u64, facts: Vec<Fact>) -> Batch {
        Batch { origin: self.me.clone(), incarnation: self.incarnation, after, upto, facts }
    }
}

fn told((seq, said): (&u64, &Entry), now: Timestamp) -> Fact {
    Fact { seq: *seq, age: now.since(said.at), record: said.record.clone() }
}

fn encoded((seq, said): (&u64, &Entry), now: Timestamp) -> EncodedFact {
    EncodedFact { seq: *seq, age: now.since(said.at), encoded: said.encoded.clone() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::replication::record::{InFlightReport, Placement};

    fn fact_log() -> FactLog {
        FactLog::new(ReplicaId("r0".into()), Incarnation(1))
    }

    fn share(endpoint: u64, requests: u32) -> Record {
        Record::InFlight(InFlightReport { requests, ..InFlightReport::none(EndpointKey(endpoint)) })
    }

    fn placement() -> Record {
        Record::Placement(Placement { endpoint: EndpointKey(1), anchors: Vec::new() })
    }

    #[test]
    fn a_newer_word_on_the_same_thing_replaces_the_older() {
        let mut fact_log = fact_log();
        for n in 1..=5 {
            fact_log.publish(share(7, n), Timestamp::from_millis(n.into()));
        }
        fact_log.publish(share(8, 1), Timestamp::from_millis(6));
        let batch = fact_log.since(0, 100, Timestamp::from_millis(10)).unwrap();
        assert_eq!((batch.after, batch.upto), (0, 6));
        let said: Vec<_> = batch.facts.iter().map(|fact| (fact.seq, fact.age.as_millis())).collect();
        assert_eq!(said, [(5, 5), (6, 4)]);
        assert_eq!(fact_log.since(6, 100, Timestamp::ZERO), None);
    }

    #[test]
    fn batches_continue_each_other_without_a_gap() {
        let mut fact_log = fact_log();
        (0..10).for_each(|n| fact_log.publish(share(n, 1), Timestamp::ZERO));
        let (mut after, mut seen) = (0, Vec::new());
        while let Some(batch) = fact_log.since(after, 3, Timestamp::ZERO) {
            assert_eq!(batch.after, after);
            after = batch.upto;
            seen.extend(batch.facts.iter().map(|fact| fact.seq));
        }
        assert_eq!(seen, (1..=10).collect::<Vec<_>>());
    }

    #[test]
    fn placements_beyond_the_bound_are_forgotten_and_the_rest_stays() {
        let mut fact_log = fact_log();
        fact_log.publish(share(1, 1), Timestamp::ZERO);
        (0..PLACEMENTS_MAX + 10).for_each(|_| fact_log.publish(placement(), Timestamp::ZERO));
        let batch = fact_log.since(0, usize::MAX, Timestamp::ZERO).unwrap();
        assert_eq!(batch.facts.len(), PLACEMENTS_MAX + 1);
        assert_eq!((batch.facts[0].seq, batch.facts[1].seq), (1, 12));
        assert_eq!(fact_log.placements_from(0).count(), PLACEMENTS_MAX);
        assert_eq!(fact_log.placements_from(batch.upto).count(), 1);
    }

    #[test]
    fn of_a_removed_endpoint_one_word_stays_for_a_while_and_then_nothing() {
        let (mut fact_log, later) = (fact_log(), Timestamp::ZERO + REMOVED_KEPT);
        fact_log.publish(share(7, 3), Timestamp::ZERO);
        fact_log.publish(Record::Unreachable(EndpointKey(7)), Timestamp::ZERO);
        fact_log.publish(Record::Removed(EndpointKey(7)), Timestamp::ZERO);
        assert_eq!(fact_log.subjects(), 1);
        let told = fact_log.since(2, 9, Timestamp::ZERO).unwrap();
        assert_eq!((told.after, told.facts.len()), (2, 1));
        fact_log.publish(share(8, 1), later);
        assert_eq!((fact_log.subjects(), fact_log.since(0, 9, later).unwrap().facts.len()), (1, 1));
    }

    #[test]
    fn whoever_missed_a_removal_that_is_forgotten_hears_all_anew() {
        let (mut fact_log, later) = (fact_log(), Timestamp::ZERO + REMOVED_KEPT);
        fact_log.publish(share(7, 3), Timestamp::ZERO);
        fact_log.publish(Record::Removed(EndpointKey(7)), Timestamp::ZERO);
        fact_log.publish(share(8, 1), later);
        assert_eq!([0, 1, 2, 3, 4].map(|after| fact_log.continues(after)), [true, false, true, true, false]);
        let batch = fact_log.since(1, 9, later).unwrap();
        assert_eq!((batch.after, batch.upto), (0, 3));
    }

    #[test]
    fn an_endpoint_that_comes_back_is_not_forgotten_with_its_removal() {
        let (mut fact_log, later) = (fact_log(), Timestamp::ZERO + REMOVED_KEPT);
        fact_log.publish(Record::Removed(EndpointKey(7)), Timestamp::ZERO);
        fact_log.publish(share(7, 0), Timestamp::ZERO);
        fact_log.publish(share(8, 1), later);
        assert_eq!((fact_log.subjects(), fact_log.continues(1)), (2, true));
    }

    #[test]
    fn removed_endpoints_are_bounded_however_many_go_at_once() {
        let mut fact_log = fact_log();
        for n in 0..3 * REMOVED_MAX as u64 {
            fact_log.publish(Record::Removed(EndpointKey(n)), Timestamp::ZERO);
        }
        assert_eq!((fact_log.subjects(), fact_log.removed.len()), (REMOVED_MAX, REMOVED_MAX));
        assert_eq!(fact_log.facts.len(), REMOVED_MAX);
    }

    #[test]
    fn what_a_scheduler_said_that_died_is_taken_back_once_and_then_forgotten() {
        let (mut fact_log, later) = (fact_log(), Timestamp::ZERO + REMOVED_KEPT);
        fact_log.publish(share(7, 3), Timestamp::ZERO);
        fact_log.publish(Record::Unreachable(EndpointKey(8)), Timestamp::ZERO);
        fact_log.withdraw(Timestamp::ZERO);
        assert_eq!((fact_log.head(), fact_log.subjects()), (4, 2));
        fact_log.withdraw(Timestamp::ZERO);
        assert_eq!(fact_log.head(), 4, "there is nothing left to take back");
        fact_log.publish(share(9, 1), later);
        assert_eq!(fact_log.subjects(), 1);
    }
}
