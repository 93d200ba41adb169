//! What this replica has to say: its facts, numbered, the newest of each kind, and the last placements and bindings.
//!
//! Must not know lanes or peers. A lane keeps the number up to which it has spoken and asks for what came after; one that
//! falls behind skips what no longer counts, so nothing queues up for a slow peer.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::id::{EndpointKey, Incarnation, ReplicaId};
use crate::share::codec;
use crate::share::record::{Batch, Fact, Record, Share, Subject};
use crate::time::Timestamp;

/// Placements and bindings that are kept for peers that join or fall behind; older ones are forgotten. At 32 anchors each this is 6 MiB.
pub const PLACEMENTS_MAX: usize = 16_384;

/// The least age that placements of history are told with: where blocks are, and no longer what load there is.
pub const HISTORY_AGE: Duration = Duration::from_secs(2);

/// The facts of one replica.
#[derive(Debug)]
pub struct Speaker {
    me: ReplicaId,
    incarnation: Incarnation,
    version: u8,
    head: u64,
    facts: BTreeMap<u64, (Timestamp, Record)>,
    newest: BTreeMap<Subject, u64>,
    placements: VecDeque<u64>,
}

// === impl Speaker ===

impl Speaker {
    /// A replica that has said nothing yet.
    pub fn new(me: ReplicaId, incarnation: Incarnation) -> Self {
        let (facts, newest, placements) = (BTreeMap::new(), BTreeMap::new(), VecDeque::new());
        Self { me, incarnation, version: codec::VERSION, head: 0, facts, newest, placements }
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
    pub fn say(&mut self, record: Record, at: Timestamp) {
        let Some(record) = codec::within(self.version, record) else { return };
        self.head += 1;
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
        self.facts.insert(self.head, (at, record));
    }

    /// Takes back all open work that was said: whoever held it is gone.
    pub fn withdraw(&mut self, at: Timestamp) {
        let open: Vec<EndpointKey> = self
            .newest
            .keys()
            .filter_map(|subject| match subject {
                Subject::InFlight(endpoint) => Some(*endpoint),
                Subject::Load(_) | Subject::Failing(_) => None,
            })
            .collect();
        for endpoint in open {
            self.say(Record::InFlight(Share::none(endpoint)), at);
        }
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

    /// What was said after `after`, at most `most` facts, oldest first; `None` when there is nothing. `after == 0` is the
    /// whole state. The next batch continues at this one's `upto`.
    pub fn since(&self, after: u64, most: usize, now: Timestamp) -> Option<Batch> {
        let from = after.checked_add(1)?;
        let mut facts: Vec<Fact> = self.facts.range(from..).take(most.max(1)).map(|fact| told(fact, now)).collect();
        let whole = facts.len() < most.max(1);
        let upto = if whole { self.head } else { facts.last().map_or(self.head, |fact| fact.seq) };
        if upto <= after {
            return None;
        }
        facts.shrink_to_fit();
        Some(self.batch(after, upto, facts))
    }

    /// The newest word on each subject that `chosen` wants, ordered by subject, as a fragment.
    pub fn words(&self, chosen: impl Fn(Subject) -> bool, now: Timestamp) -> Batch {
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
        self.placements.range(first..).filter_map(|seq| self.facts.get(seq).map(|(_, record)| (*seq, record)))
    }

    fn batch(&self, after: u64, upto: u64, facts: Vec<Fact>) -> Batch {
        Batch { origin: self.me.clone(), incarnation: self.incarnation, after, upto, facts }
    }
}

fn told((seq, (at, record)): (&u64, &(Timestamp, Record)), now: Timestamp) -> Fact {
    Fact { seq: *seq, age: now.since(*at), record: record.clone() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::share::record::Placement;

    fn speaker() -> Speaker {
        Speaker::new(ReplicaId("r0".into()), Incarnation(1))
    }

    fn share(endpoint: u64, requests: u32) -> Record {
        Record::InFlight(Share { requests, ..Share::none(EndpointKey(endpoint)) })
    }

    fn placement() -> Record {
        Record::Placement(Placement { endpoint: EndpointKey(1), anchors: Vec::new() })
    }

    #[test]
    fn a_newer_word_on_the_same_thing_replaces_the_older() {
        let mut speaker = speaker();
        for n in 1..=5 {
            speaker.say(share(7, n), Timestamp::from_millis(n.into()));
        }
        speaker.say(share(8, 1), Timestamp::from_millis(6));
        let batch = speaker.since(0, 100, Timestamp::from_millis(10)).unwrap();
        assert_eq!((batch.after, batch.upto), (0, 6));
        let said: Vec<_> = batch.facts.iter().map(|fact| (fact.seq, fact.age.as_millis())).collect();
        assert_eq!(said, [(5, 5), (6, 4)]);
        assert_eq!(speaker.since(6, 100, Timestamp::ZERO), None);
    }

    #[test]
    fn batches_continue_each_other_without_a_gap() {
        let mut speaker = speaker();
        (0..10).for_each(|n| speaker.say(share(n, 1), Timestamp::ZERO));
        let (mut after, mut seen) = (0, Vec::new());
        while let Some(batch) = speaker.since(after, 3, Timestamp::ZERO) {
            assert_eq!(batch.after, after);
            after = batch.upto;
            seen.extend(batch.facts.iter().map(|fact| fact.seq));
        }
        assert_eq!(seen, (1..=10).collect::<Vec<_>>());
    }

    #[test]
    fn placements_beyond_the_bound_are_forgotten_and_the_rest_stays() {
        let mut speaker = speaker();
        speaker.say(share(1, 1), Timestamp::ZERO);
        (0..PLACEMENTS_MAX + 10).for_each(|_| speaker.say(placement(), Timestamp::ZERO));
        let batch = speaker.since(0, usize::MAX, Timestamp::ZERO).unwrap();
        assert_eq!(batch.facts.len(), PLACEMENTS_MAX + 1);
        assert_eq!((batch.facts[0].seq, batch.facts[1].seq), (1, 12));
        assert_eq!(speaker.placements_from(0).count(), PLACEMENTS_MAX);
        assert_eq!(speaker.placements_from(batch.upto).count(), 1);
    }
}
