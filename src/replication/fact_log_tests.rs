//! Tests of [`FactLog`].

use super::*;
use crate::replication::record::{InFlightReport, Placement};

fn fact_log() -> FactLog {
    FactLog::new(ReplicaId("r0".into()), Incarnation(1))
}

fn in_flight(endpoint: u64, requests: u32) -> Record {
    Record::InFlight(InFlightReport { requests, ..InFlightReport::none(EndpointKey(endpoint)) })
}

fn placement() -> Record {
    Record::Placement(Placement { endpoint: EndpointKey(1), anchors: Vec::new() })
}

#[test]
fn a_newer_fact_on_the_same_subject_replaces_the_older() {
    let mut fact_log = fact_log();
    for n in 1..=5 {
        fact_log.publish(in_flight(7, n), Timestamp::from_millis(n.into()));
    }
    fact_log.publish(in_flight(8, 1), Timestamp::from_millis(6));
    let batch = fact_log.since(0, 100, Timestamp::from_millis(10)).unwrap();
    assert_eq!((batch.after, batch.upto), (0, 6));
    let published: Vec<_> = batch.facts.iter().map(|fact| (fact.seq, fact.age.as_millis())).collect();
    assert_eq!(published, [(5, 5), (6, 4)]);
    assert_eq!(fact_log.since(6, 100, Timestamp::ZERO), None);
}

#[test]
fn batches_continue_each_other_without_a_gap() {
    let mut fact_log = fact_log();
    (0..10).for_each(|n| fact_log.publish(in_flight(n, 1), Timestamp::ZERO));
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
    fact_log.publish(in_flight(1, 1), Timestamp::ZERO);
    (0..PLACEMENTS_MAX + 10).for_each(|_| fact_log.publish(placement(), Timestamp::ZERO));
    let batch = fact_log.since(0, usize::MAX, Timestamp::ZERO).unwrap();
    assert_eq!(batch.facts.len(), PLACEMENTS_MAX + 1);
    assert_eq!((batch.facts[0].seq, batch.facts[1].seq), (1, 12));
    assert_eq!(fact_log.placements_from(0).count(), PLACEMENTS_MAX);
    assert_eq!(fact_log.placements_from(batch.upto).count(), 1);
}

#[test]
fn a_removed_endpoint_keeps_one_fact_for_a_while_and_then_none() {
    let (mut fact_log, later) = (fact_log(), Timestamp::ZERO + REMOVED_KEPT);
    fact_log.publish(in_flight(7, 3), Timestamp::ZERO);
    fact_log.publish(Record::Unreachable(EndpointKey(7)), Timestamp::ZERO);
    fact_log.publish(Record::Removed(EndpointKey(7)), Timestamp::ZERO);
    assert_eq!(fact_log.subjects(), 1);
    let batch = fact_log.since(2, 9, Timestamp::ZERO).unwrap();
    assert_eq!((batch.after, batch.facts.len()), (2, 1));
    fact_log.publish(in_flight(8, 1), later);
    assert_eq!((fact_log.subjects(), fact_log.since(0, 9, later).unwrap().facts.len()), (1, 1));
}

#[test]
fn a_peer_that_missed_a_forgotten_removal_receives_all_facts_anew() {
    let (mut fact_log, later) = (fact_log(), Timestamp::ZERO + REMOVED_KEPT);
    fact_log.publish(in_flight(7, 3), Timestamp::ZERO);
    fact_log.publish(Record::Removed(EndpointKey(7)), Timestamp::ZERO);
    fact_log.publish(in_flight(8, 1), later);
    assert_eq!([0, 1, 2, 3, 4].map(|after| fact_log.continues(after)), [true, false, true, true, false]);
    let batch = fact_log.since(1, 9, later).unwrap();
    assert_eq!((batch.after, batch.upto), (0, 3));
}

#[test]
fn an_endpoint_that_comes_back_is_not_forgotten_with_its_removal() {
    let (mut fact_log, later) = (fact_log(), Timestamp::ZERO + REMOVED_KEPT);
    fact_log.publish(Record::Removed(EndpointKey(7)), Timestamp::ZERO);
    fact_log.publish(in_flight(7, 0), Timestamp::ZERO);
    fact_log.publish(in_flight(8, 1), later);
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
fn facts_of_a_dead_scheduler_are_withdrawn_once_and_then_forgotten() {
    let (mut fact_log, later) = (fact_log(), Timestamp::ZERO + REMOVED_KEPT);
    fact_log.publish(in_flight(7, 3), Timestamp::ZERO);
    fact_log.publish(Record::Unreachable(EndpointKey(8)), Timestamp::ZERO);
    fact_log.withdraw(Timestamp::ZERO);
    assert_eq!((fact_log.head(), fact_log.subjects()), (4, 2));
    fact_log.withdraw(Timestamp::ZERO);
    assert_eq!(fact_log.head(), 4, "there is nothing left to withdraw");
    fact_log.publish(in_flight(9, 1), later);
    assert_eq!(fact_log.subjects(), 1);
}
