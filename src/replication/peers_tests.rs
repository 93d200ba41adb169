//! Tests of receiving from peers.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::id::PoolId;
use crate::replication::codec;
use crate::replication::fact_log::FactLog;
use crate::replication::pages::Pages;
use crate::replication::record::{InFlightReport, Placement, Record};

const NOW: Timestamp = Timestamp::from_millis(1_000);

fn origin() -> ReplicaId {
    ReplicaId("r1".into())
}

fn in_flight(endpoint: u64, requests: u32) -> Record {
    let (endpoint, tokens) = (EndpointKey(endpoint), u64::from(requests));
    Record::InFlight(InFlightReport {
        endpoint,
        requests,
        prefill_tokens: 10 * tokens,
        decode_tokens: 20 * tokens,
        prefills: 1,
        speed: Some(PrefillSpeed::default()),
        incoming_tokens: 0,
    })
}

/// Receives a batch as the scheduler does.
fn receive(peers: &mut Peers, batch: Batch) -> usize {
    receive_at(peers, batch, NOW)
}

fn receive_at(peers: &mut Peers, batch: Batch, now: Timestamp) -> usize {
    let Received::News(news) = peers.receive(batch, now, &mut Vec::new()) else { return 0 };
    news.facts.len()
}

fn fact_log(incarnation: u64) -> FactLog {
    FactLog::new(origin(), Incarnation(incarnation))
}

#[test]
fn an_older_incarnation_never_overwrites_a_newer_one() {
    let (mut peers, mut old, mut new) = (Peers::default(), fact_log(1), fact_log(2));
    old.publish(in_flight(7, 5), NOW);
    new.publish(in_flight(8, 1), NOW);
    assert_eq!(receive(&mut peers, old.since(0, 9, NOW).unwrap()), 1);
    assert_eq!(receive(&mut peers, new.since(0, 9, NOW).unwrap()), 1);
    assert_eq!(peers.open_work(EndpointKey(7)).0.requests, 0, "the old incarnation's work ended with it");
    assert_eq!(receive(&mut peers, old.since(0, 9, NOW).unwrap()), 0);
    assert_eq!(peers.open_work(EndpointKey(8)).0.requests, 1);
}

#[test]
fn open_work_of_a_lost_peer_goes_at_once_and_a_late_loss_does_not_affect_its_next_incarnation() {
    let (mut peers, mut fact_log) = (Peers::default(), fact_log(3));
    fact_log.publish(in_flight(7, 5), NOW);
    receive(&mut peers, fact_log.since(0, 9, NOW).unwrap());
    assert!(peers.lose(&origin(), Incarnation(2)).is_empty());
    assert_eq!(peers.open_work(EndpointKey(7)).0.requests, 5);
    assert_eq!(peers.lose(&origin(), Incarnation(3)), [EndpointKey(7)]);
    assert_eq!(peers.open_work(EndpointKey(7)).0.requests, 0);
}

#[test]
fn a_gap_is_seen_and_a_snapshot_closes_it() {
    let (mut peers, mut fact_log) = (Peers::default(), fact_log(1));
    (0..6).for_each(|n| fact_log.publish(in_flight(n, 1), NOW));
    receive(&mut peers, fact_log.since(0, 2, NOW).unwrap());
    receive(&mut peers, fact_log.since(4, 2, NOW).unwrap());
    assert_eq!((peers.upto(&origin(), Incarnation(1)), peers.summary(NOW)[0].gaps), (2, 1));
    receive(&mut peers, fact_log.since(2, 9, NOW).unwrap());
    assert_eq!(peers.upto(&origin(), Incarnation(1)), 6);
    assert_eq!(peers.upto(&origin(), Incarnation(2)), 0, "nothing was received from another incarnation");
}

#[test]
fn a_placement_counts_once_whichever_lane_brings_it() {
    let (mut peers, mut fact_log) = (Peers::default(), fact_log(1));
    fact_log.publish(Record::Placement(Placement { endpoint: EndpointKey(1), anchors: Vec::new() }), NOW);
    let stream = fact_log.since(0, 9, NOW).unwrap();
    let gossip = fact_log.fragment(1..2, NOW);
    assert_eq!((receive(&mut peers, stream), receive(&mut peers, gossip)), (1, 0));
}

#[test]
fn history_may_be_repeated_and_moves_no_number() {
    let (mut peers, mut fact_log) = (Peers::default(), fact_log(1));
    fact_log.publish(in_flight(7, 5), NOW);
    let placement = Record::Placement(Placement { endpoint: EndpointKey(1), anchors: Vec::new() });
    let placement = (placement, Duration::from_secs(3600));
    let history = fact_log.history(vec![placement.clone(), placement]);
    assert_eq!((receive(&mut peers, history.clone()), receive(&mut peers, history)), (2, 2));
    assert_eq!(peers.upto(&origin(), Incarnation(1)), 0);
    assert_eq!(receive(&mut peers, fact_log.since(0, 9, NOW).unwrap()), 1);
}

#[test]
fn there_are_only_so_many_peers() {
    let mut peers = Peers::default();
    let batch = |n: usize| Batch {
        origin: ReplicaId(format!("r{n}")),
        incarnation: Incarnation(1),
        pool: PoolId::default(),
        after: 0,
        upto: 0,
        facts: Vec::new(),
    };
    for n in 0..PEERS_MAX {
        assert!(matches!(peers.receive(batch(n), NOW, &mut Vec::new()), Received::News(_)));
    }
    assert_eq!(peers.receive(batch(PEERS_MAX), NOW, &mut Vec::new()), Received::TooManyPeers);
}

#[test]
fn open_work_that_a_snapshot_leaves_out_is_void_after_a_moment() {
    let (mut peers, mut fact_log) = (Peers::default(), fact_log(1));
    fact_log.publish(in_flight(7, 5), NOW);
    fact_log.publish(in_flight(8, 1), NOW);
    receive(&mut peers, fact_log.since(0, 9, NOW).unwrap());
    // While this replica was away, the removal was published and forgotten.
    let later = NOW + Duration::from_secs(300);
    fact_log.publish(Record::Removed(EndpointKey(7)), NOW);
    fact_log.publish(in_flight(9, 1), later);
    let snapshot = fact_log.since(2, 9, later).unwrap();
    assert_eq!(snapshot.after, 0);
    receive_at(&mut peers, snapshot, later);
    let mut voided = Vec::new();
    peers.expire(later + UNCONFIRMED_MAX, &mut voided);
    assert_eq!(voided, [EndpointKey(7)]);
    let work = [7, 8, 9].map(|endpoint| peers.open_work(EndpointKey(endpoint)).0.requests);
    assert_eq!(work, [0, 1, 1]);
}

#[test]
fn a_snapshot_in_two_batches_voids_nothing_that_was_only_published_anew() {
    let (mut peers, mut fact_log) = (Peers::default(), fact_log(1));
    (0..4).for_each(|n| fact_log.publish(in_flight(n, 1), NOW));
    receive(&mut peers, fact_log.since(0, 9, NOW).unwrap());
    fact_log.publish(in_flight(0, 2), NOW);
    receive(&mut peers, fact_log.since(0, 2, NOW).unwrap());
    assert_eq!(peers.open_work(EndpointKey(0)).0.requests, 1, "it counts until the next batch comes");
    receive(&mut peers, fact_log.since(3, 9, NOW).unwrap());
    let mut voided = Vec::new();
    peers.expire(NOW + UNCONFIRMED_MAX, &mut voided);
    assert!(voided.is_empty());
    assert_eq!([0, 1, 2, 3].map(|endpoint| peers.open_work(EndpointKey(endpoint)).0.requests), [2, 1, 1, 1]);
}

#[test]
fn facts_that_find_no_room_are_counted_and_shown() {
    let (mut peers, mut fact_log) = (Peers::default(), fact_log(1));
    peers.enters(EndpointKey(1));
    for endpoint in 0..10_000 {
        fact_log.publish(in_flight(endpoint, 1), NOW);
    }
    let batch = fact_log.since(0, usize::MAX, NOW).unwrap();
    let Received::News(news) = peers.receive(batch, NOW, &mut Vec::new()) else { unreachable!() };
    let summary = peers.summary(NOW).remove(0);
    assert_eq!((news.refused as u64, news.facts.len() + news.refused), (summary.refused, 10_000));
    assert_eq!((summary.endpoints, summary.outside), (news.facts.len(), news.facts.len() - 1));
    assert!(summary.outside <= crate::fleet::ENDPOINTS_MAX);
}

/// What may happen to an origin and to a receiver of its facts.
#[derive(Clone, Debug)]
enum Step {
    Publishes(u64, u32),
    Removes(u64),
    /// The receiver's own discovery, which is not simultaneous.
    Enters(u64),
    Leaves(u64),
    /// So many seconds pass.
    Passes(u64),
    /// Any batch that was ever made arrives, however late and however often.
    Streams(usize),
    /// So many gossip pages arrive: of a key never an older value after a newer one.
    Gossips(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let endpoint = 0u64..5;
    let step = prop_oneof![
        4 => (endpoint.clone(), 0u32..4).prop_map(|(endpoint, requests)| Step::Publishes(endpoint, requests)),
        2 => endpoint.clone().prop_map(Step::Removes),
        1 => endpoint.clone().prop_map(Step::Enters),
        1 => endpoint.prop_map(Step::Leaves),
        1 => (0u64..90).prop_map(Step::Passes),
        4 => (0usize..100).prop_map(Step::Streams),
        2 => (0usize..5).prop_map(Step::Gossips),
    ];
    proptest::collection::vec(step, 1..80)
}

proptest! {
    /// Batches and pages arrive in any order, late and more than once, endpoints go and come back, and discoveries
    /// differ. After one whole snapshot the receiver counts what the origin has, and remembers only live endpoints.
    #[test]
    fn removals_and_returns_end_in_the_same_view_over_both_lanes(steps in steps()) {
        let (mut peers, mut fact_log, mut pages, mut now) = (Peers::default(), fact_log(1), Pages::default(), NOW);
        let (mut batches, mut gossip, mut gossiped) = (Vec::<Batch>::new(), Vec::<Batch>::new(), 0);
        let mut truth = BTreeMap::<u64, u32>::new();
        for step in steps {
            let before = fact_log.head();
            match step {
                Step::Publishes(endpoint, requests) => {
                    truth.insert(endpoint, requests);
                    fact_log.publish(in_flight(endpoint, requests), now);
                }
                Step::Removes(endpoint) => {
                    if truth.remove(&endpoint).is_some() {
                        fact_log.publish(Record::Removed(EndpointKey(endpoint)), now);
                    }
                }
                Step::Enters(endpoint) => peers.enters(EndpointKey(endpoint)),
                Step::Leaves(endpoint) => peers.leaves(EndpointKey(endpoint), now),
                Step::Passes(seconds) => now = now + Duration::from_secs(seconds),
                Step::Streams(at) if !batches.is_empty() => {
                    receive_at(&mut peers, batches[at % batches.len()].clone(), now);
                }
                Step::Streams(_) => {}
                Step::Gossips(count) => {
                    for page in gossip.iter().skip(gossiped).take(count) {
                        receive_at(&mut peers, page.clone(), now);
                    }
                    gossiped = gossip.len().min(gossiped + count);
                }
            }
            if fact_log.head() > before {
                batches.extend(fact_log.since(before, 9, now));
                let written = pages.write(&fact_log, now);
                gossip.extend(written.iter().map(|page| codec::decode(&page.bytes).unwrap().batch));
            }
            peers.expire(now, &mut Vec::new());
        }
        (0..5).for_each(|endpoint| peers.enters(EndpointKey(endpoint)));
        if let Some(snapshot) = fact_log.since(0, usize::MAX, now) {
            receive_at(&mut peers, snapshot, now);
        }
        let counts = |peers: &Peers| (0..5).map(|n| peers.open_work(EndpointKey(n)).0.requests).collect::<Vec<_>>();
        let expected: Vec<u32> = (0..5).map(|n| truth.get(&n).copied().unwrap_or_default()).collect();
        now = now + UNCONFIRMED_MAX;
        peers.expire(now, &mut Vec::new());
        prop_assert_eq!(counts(&peers), expected.clone());
        for batch in batches.into_iter().chain(gossip) {
            receive_at(&mut peers, batch, now);
        }
        peers.expire(now + UNCONFIRMED_MAX, &mut Vec::new());
        prop_assert_eq!(counts(&peers), expected, "what comes late changes nothing");
        (0..5).filter(|n| !truth.contains_key(n)).for_each(|n| peers.leaves(EndpointKey(n), now));
        peers.expire(now + Duration::from_secs(60), &mut Vec::new());
        prop_assert!(peers.remembered() <= truth.len());
    }
}

proptest! {
    /// For any order, repetition and loss of batches before a snapshot, the sums are the origin's.
    #[test]
    fn loss_repetition_and_reordering_are_harmless(
        facts in proptest::collection::vec((0u64..5, 0u32..9), 1..40),
        order in proptest::collection::vec(0usize..40, 0..60),
    ) {
        let (mut peers, mut fact_log, mut batches) = (Peers::default(), fact_log(1), Vec::new());
        for &(endpoint, requests) in &facts {
            let before = fact_log.head();
            fact_log.publish(in_flight(endpoint, requests), NOW);
            batches.extend(fact_log.since(before, 9, NOW));
        }
        for at in order {
            receive(&mut peers, batches[at % batches.len()].clone());
        }
        receive(&mut peers, fact_log.since(0, usize::MAX, NOW).unwrap());
        for endpoint in 0..5 {
            let last = facts.iter().rev().find(|fact| fact.0 == endpoint).map_or(0, |fact| fact.1);
            prop_assert_eq!(peers.open_work(EndpointKey(endpoint)).0.requests, last);
        }
        prop_assert_eq!(peers.upto(&origin(), Incarnation(1)), fact_log.head());
    }
}
