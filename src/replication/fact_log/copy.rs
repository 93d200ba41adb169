//! A fact log as the copy of another replica's: a relay keeps one, so that it can be followed in that replica's place.
//!
//! Must not know who relays. Numbers are those of the origin, so a follower's cursor means the same at both, and it may
//! change from one to the other at any time. Ages go on from what they were when they arrived.

use super::FactLog;
use crate::replication::record::Batch;
use crate::time::Timestamp;

// === impl FactLog ===

impl FactLog {
    /// Takes what the origin sent, which arrived at `now`. `false` when it does not continue what was taken before: the
    /// copy is then as it was, and of no use until the origin sends all from the beginning.
    pub fn copy(&mut self, batch: &Batch, now: Timestamp) -> bool {
        let same = (&batch.origin, batch.incarnation, &batch.pool) == (&self.me, self.incarnation, &self.pool);
        if !same || batch.after > self.head || batch.upto < batch.after {
            return false;
        }
        if batch.after == 0 && self.head > 0 {
            self.restart();
        }
        let before = self.head;
        for fact in batch.facts.iter().filter(|fact| fact.seq > before) {
            if let Some((record, encoded)) = Self::encode(self.version, fact.record.clone()) {
                self.insert(fact.seq, record, encoded, now - fact.age);
            }
        }
        self.head = self.head.max(batch.upto);
        true
    }

    /// The origin sends all it has anew, because what was missed meanwhile is forgotten there. So those who received no
    /// more than this copy had must get everything anew too.
    fn restart(&mut self) {
        let missed = self.head + 1;
        let fresh = Self::new(self.me.clone(), self.incarnation).of_pool(self.pool.clone());
        *self = Self { version: self.version, floor: missed, ..fresh };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::id::{EndpointKey, Incarnation, ReplicaId};
    use crate::replication::record::{InFlightReport, Placement, Record};

    fn log() -> FactLog {
        FactLog::new(ReplicaId("origin".into()), Incarnation(1))
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn in_flight(endpoint: u64, requests: u32) -> Record {
        Record::InFlight(InFlightReport { requests, ..InFlightReport::none(EndpointKey(endpoint)) })
    }

    fn record() -> impl Strategy<Value = Record> {
        prop_oneof![
            (0..4u64, 0..9u32).prop_map(|(endpoint, requests)| in_flight(endpoint, requests)),
            (0..4u64).prop_map(|endpoint| Record::Removed(EndpointKey(endpoint))),
            (0..4u64).prop_map(|endpoint| Record::Placement(Placement {
                endpoint: EndpointKey(endpoint),
                anchors: Vec::new()
            })),
        ]
    }

    proptest! {
        /// Whoever follows the copy, from wherever, gets what the origin would send.
        #[test]
        fn a_copy_sends_what_its_origin_would(
            records in prop::collection::vec((record(), prop::bool::weighted(0.3)), 1..60),
            most in 1..8usize,
        ) {
            let (mut origin, mut copy) = (log(), log());
            for (n, (record, sent)) in records.into_iter().enumerate() {
                origin.publish(record, at(n as u64));
                while let Some(batch) = origin.since(copy.head(), most, at(n as u64)).filter(|_| sent) {
                    prop_assert!(copy.copy(&batch, at(n as u64)));
                }
            }
            let now = at(1_000);
            while let Some(batch) = origin.since(copy.head(), most, now) {
                prop_assert!(copy.copy(&batch, now));
            }
            for after in 0..=origin.head() {
                prop_assert_eq!(copy.since(after, 100, now), origin.since(after, 100, now));
            }
        }
    }

    #[test]
    fn ages_go_on_while_a_fact_lies_in_the_copy() {
        let (mut origin, mut copy) = (log(), log());
        origin.publish(in_flight(1, 1), at(100));
        assert!(copy.copy(&origin.since(0, 9, at(130)).unwrap(), at(5_000)));
        let age = copy.since(0, 9, at(5_020)).unwrap().facts[0].age;
        assert_eq!(age, Duration::from_millis(50));
    }

    #[test]
    fn what_does_not_continue_it_changes_nothing() {
        let (mut origin, mut copy) = (log(), log());
        (0..4).for_each(|n| origin.publish(in_flight(n, 1), at(0)));
        assert!(!copy.copy(&origin.since(2, 9, at(0)).unwrap(), at(0)), "facts before it are missing");
        let mut other = FactLog::new(ReplicaId("other".into()), Incarnation(1));
        other.publish(in_flight(1, 1), at(0));
        assert!(!copy.copy(&other.since(0, 9, at(0)).unwrap(), at(0)), "another origin");
        let mut later = FactLog::new(ReplicaId("origin".into()), Incarnation(2));
        later.publish(in_flight(1, 1), at(0));
        assert!(!copy.copy(&later.since(0, 9, at(0)).unwrap(), at(0)), "another incarnation");
        assert_eq!((copy.head(), copy.subjects()), (0, 0));
    }

    #[test]
    fn a_copy_that_begins_anew_sends_all_anew() {
        let (mut origin, mut copy) = (log(), log());
        (0..4).for_each(|n| origin.publish(in_flight(n, 1), at(0)));
        assert!(copy.copy(&origin.since(0, 9, at(0)).unwrap(), at(0)));
        (4..6).for_each(|n| origin.publish(in_flight(n, 1), at(0)));
        assert!(copy.copy(&origin.since(0, 3, at(0)).unwrap(), at(0)));
        assert!([3, 4].iter().all(|after| !copy.continues(*after)), "they missed what nobody can send any more");
        assert!(copy.copy(&origin.since(3, 9, at(0)).unwrap(), at(0)));
        assert_eq!((copy.since(0, 9, at(0)).unwrap().facts.len(), copy.continues(5)), (6, true));
    }
}
