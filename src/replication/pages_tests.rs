//! Tests of the page layout.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::fleet::{Adapters, InFlight, LoadReport, PrefillSpeed};
use crate::id::{BlockHash, EndpointKey, Incarnation, ReplicaId};
use crate::replication::fact_log::PLACEMENTS_MAX;
use crate::replication::record::{EndpointLoad, InFlightReport, Placement, Record};

fn fact_log() -> FactLog {
    FactLog::new(ReplicaId("replica-0".into()), Incarnation(1))
}

fn in_flight(endpoint: u64) -> Record {
    let (endpoint, requests, tokens) = (EndpointKey(mix(endpoint)), u32::MAX, u64::MAX);
    let (prefills, prefill_tokens, decode_tokens) = (requests, tokens, tokens);
    let speed = Some(PrefillSpeed { tokens, millis: tokens });
    let open = InFlight { requests, prefills, prefill_tokens, decode_tokens, incoming_tokens: tokens };
    Record::InFlight(InFlightReport { speed, ..InFlightReport::of(endpoint, open, PrefillSpeed::default()) })
}

fn load(endpoint: u64, names: usize) -> Record {
    let running = (0..names).map(|n| format!("adapter-with-quite-a-long-name-{n}")).collect();
    let adapters = Some(Adapters { max: 64, running, waiting: Vec::new() });
    let report = LoadReport { waiting: u32::MAX, adapters, ..LoadReport::default() };
    Record::Load(EndpointLoad { endpoint: EndpointKey(mix(endpoint)), report })
}

fn placement(seed: u64, anchors: u64) -> Record {
    let anchors = (0..anchors).map(|i| BlockHash(mix(seed + i) >> 24)).collect();
    Record::Placement(Placement { endpoint: EndpointKey(mix(seed)), anchors })
}

fn keys(pages: &[Page]) -> Vec<&str> {
    pages.iter().map(|page| page.key.as_str()).collect()
}

#[test]
fn only_what_changed_is_set_again() {
    let (mut fact_log, mut pages) = (fact_log(), Pages::default());
    fact_log.publish(in_flight(1), Timestamp::ZERO);
    fact_log.publish(load(1, 0), Timestamp::ZERO);
    fact_log.publish(placement(1, 20), Timestamp::ZERO);
    assert_eq!(keys(&pages.write(&fact_log, Timestamp::ZERO)), ["f0", "l0", "p0"]);
    assert!(pages.write(&fact_log, Timestamp::ZERO).is_empty());
    fact_log.publish(in_flight(1), Timestamp::ZERO);
    assert_eq!(keys(&pages.write(&fact_log, Timestamp::ZERO)), ["f0"]);
    fact_log.publish(placement(2, 20), Timestamp::ZERO);
    assert_eq!(keys(&pages.write(&fact_log, Timestamp::ZERO)), ["p0"]);
}

#[test]
fn a_reading_that_is_not_repeated_does_not_look_young_to_late_receivers() {
    let (mut fact_log, mut pages, mut state) = (fact_log(), Pages::default(), BTreeMap::new());
    let mut write = |fact_log: &FactLog, now| {
        state.extend(pages.write(fact_log, now).into_iter().map(|page| (page.key, page.bytes)));
        state.values().flat_map(|bytes| codec::decode(bytes).unwrap().batch.facts).map(|fact| fact.seq).collect()
    };
    // So many that they fill more than the page of new facts.
    (0..40).for_each(|n| fact_log.publish(load(n, 4), Timestamp::ZERO));
    fact_log.publish(Record::Unreachable(EndpointKey(9)), Timestamp::ZERO);
    let all: Vec<u64> = write(&fact_log, Timestamp::ZERO);
    assert_eq!(all.len(), 41);
    let edge = Timestamp::ZERO + EXACT_AGE_MAX;
    fact_log.publish(load(7, 4), edge);
    assert!(write(&fact_log, edge).len() >= 41);
    let mut left = write(&fact_log, edge + std::time::Duration::from_millis(1));
    left.sort_unstable();
    assert_eq!(left, [41, 42], "an unreachable endpoint stays so, and the repeated reading is young");
}

#[test]
fn placements_fill_one_segment_after_the_other_and_none_is_missing() {
    let (mut fact_log, mut pages, mut state) = (fact_log(), Pages::default(), BTreeMap::new());
    for n in 0..200 {
        fact_log.publish(placement(n, 20), Timestamp::ZERO);
        if n % 7 == 0 {
            state.extend(pages.write(&fact_log, Timestamp::ZERO).into_iter().map(|page| (page.key, page.bytes)));
        }
    }
    state.extend(pages.write(&fact_log, Timestamp::ZERO).into_iter().map(|page| (page.key, page.bytes)));
    let mut published: Vec<u64> =
        state.values().flat_map(|bytes| codec::decode(bytes).unwrap().batch.facts).map(|fact| fact.seq).collect();
    published.sort_unstable();
    assert_eq!(published, (1..=200).collect::<Vec<_>>());
    assert!(state.len() > 5);
}

#[test]
fn what_finds_no_room_is_left_out_and_counted() {
    let (mut fact_log, mut pages) = (fact_log(), Pages::default());
    (0..4000).for_each(|n| fact_log.publish(in_flight(n), Timestamp::ZERO));
    assert_eq!(pages.write(&fact_log, Timestamp::ZERO).len(), PAGES_PER_KIND_MAX);
    assert!(pages.left_out() > 0);
}

#[test]
fn a_change_is_set_with_recent_changes_and_not_with_all_of_its_kind() {
    let (mut fact_log, mut pages) = (fact_log(), Pages::default());
    (0..130).for_each(|n| fact_log.publish(in_flight(n), Timestamp::ZERO));
    assert_eq!(keys(&pages.write(&fact_log, Timestamp::ZERO)), ["f1"]);
    fact_log.publish(in_flight(7), Timestamp::ZERO);
    let news = pages.write(&fact_log, Timestamp::ZERO);
    assert_eq!(keys(&news), ["f0"]);
    assert_eq!(codec::decode(&news[0].bytes).unwrap().batch.facts.len(), 1);
    (0..100).for_each(|n| fact_log.publish(in_flight(n), Timestamp::ZERO));
    assert_eq!(
        keys(&pages.write(&fact_log, Timestamp::ZERO)),
        ["f1", "f0"],
        "too many new facts: all are written anew, and the page of new facts last"
    );
}

proptest! {
    /// The last values of all keys contain the newest fact on each subject, however often pages were written.
    #[test]
    fn the_newest_fact_on_each_subject_is_in_some_page(
        rounds in proptest::collection::vec(proptest::collection::vec(0u64..120, 0..60), 1..20),
    ) {
        let (mut fact_log, mut pages, mut state) = (fact_log(), Pages::default(), BTreeMap::new());
        for round in rounds {
            round.into_iter().for_each(|endpoint| fact_log.publish(in_flight(endpoint), Timestamp::ZERO));
            state.extend(pages.write(&fact_log, Timestamp::ZERO).into_iter().map(|page| (page.key, page.bytes)));
            let mut held: BTreeMap<Option<Subject>, u64> = BTreeMap::new();
            for fact in state.values().flat_map(|bytes| codec::decode(bytes).unwrap().batch.facts) {
                let newest = held.entry(fact.record.subject()).or_default();
                *newest = fact.seq.max(*newest);
            }
            let logged = fact_log.newest_facts(|_| true, Timestamp::ZERO).facts;
            let logged: BTreeMap<_, _> = logged.into_iter().map(|fact| (fact.record.subject(), fact.seq)).collect();
            prop_assert_eq!(held, logged);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever is published: each value fits a datagram, and all of them together the budget of 256 KiB.
    #[test]
    fn gossip_stays_within_its_budget(
        steps in proptest::collection::vec((0u8..3, any::<u16>(), 0usize..64, 1usize..100), 1..30),
    ) {
        let (mut fact_log, mut pages, mut state) = (fact_log(), Pages::default(), BTreeMap::new());
        for (what, seed, size, times) in steps {
            for n in 0..times as u64 {
                let seed = u64::from(seed) + n * 7;
                fact_log.publish(match what {
                    0 => in_flight(seed),
                    1 => load(seed, size),
                    _ => placement(seed, size as u64),
                }, Timestamp::ZERO);
            }
            state.extend(pages.write(&fact_log, Timestamp::ZERO).into_iter().map(|page| (page.key, page.bytes)));
            let text = |bytes: &Vec<u8>| bytes.len().div_ceil(3) * 4;
            prop_assert!(state.values().all(|bytes| text(bytes) <= 16 * 1024));
            prop_assert!(state.values().map(text).sum::<usize>() <= 256 * 1024);
            prop_assert!(state.len() + 2 <= KEYS_MAX);
        }
        prop_assert!(fact_log.placements_from(0).count() <= PLACEMENTS_MAX);
    }
}

/// The state of gossip as a reader of version `version` finds it: the numbers of the facts that it can read.
fn read_by(version: u8, state: &BTreeMap<String, Vec<u8>>) -> std::collections::BTreeSet<u64> {
    let read = state.values().filter_map(|bytes| codec::decode_as(version, bytes).ok());
    read.flat_map(|decoded| decoded.batch.facts).map(|fact| fact.seq).collect()
}

#[test]
fn a_reader_of_an_earlier_version_that_joins_can_read_what_was_set_before() {
    let (mut fact_log, mut pages, mut state) = (fact_log(), Pages::default(), BTreeMap::new());
    for n in 0..800 {
        fact_log.publish(placement(n, 20), Timestamp::ZERO);
        fact_log.publish(in_flight(n % 60), Timestamp::ZERO);
        state.extend(pages.write(&fact_log, Timestamp::ZERO).into_iter().map(|page| (page.key, page.bytes)));
    }
    let (keys, new) = (state.len(), read_by(4, &state));
    assert!(keys > 70 && read_by(3, &state).is_empty());
    for (readers, version) in [(3, 3), (4, 4), (2, 2)] {
        pages.set_readers(readers);
        state.extend(pages.write(&fact_log, Timestamp::ZERO).into_iter().map(|page| (page.key, page.bytes)));
        let missing: Vec<_> = new.difference(&read_by(version, &state)).copied().collect();
        let newest =
            |seq: &u64| fact_log.since(0, usize::MAX, Timestamp::ZERO).unwrap().facts.iter().any(|f| f.seq == *seq);
        assert!(!missing.iter().any(newest), "{missing:?} of {} can't be read by version {version}", new.len());
        assert_eq!(state.len(), keys, "under the same keys");
        assert!(pages.write(&fact_log, Timestamp::ZERO).is_empty(), "once");
    }
    pages.set_readers(3);
    assert!(pages.write(&fact_log, Timestamp::ZERO).is_empty(), "versions 1 to 3 read one format");
}
