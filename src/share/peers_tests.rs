//! What must hold of hearing.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::share::codec;
use crate::share::pages::Pages;
use crate::share::record::{Placement, Record, Share};
use crate::share::speaker::Speaker;

const NOW: Timestamp = Timestamp::from_millis(1_000);

fn origin() -> ReplicaId {
    ReplicaId("r1".into())
}

fn share(endpoint: u64, requests: u32) -> Record {
    let (endpoint, tokens) = (EndpointKey(endpoint), u64::from(requests));
    Record::InFlight(Share { endpoint, requests, prefill_tokens: 10 * tokens, decode_tokens: 20 * tokens })
}

/// Hears a batch as the scheduler does.
fn hear(peers: &mut Peers, batch: Batch) -> usize {
    hear_at(peers, batch, NOW)
}

fn hear_at(peers: &mut Peers, batch: Batch, now: Timestamp) -> usize {
    let Hearing::News(news) = peers.hear(batch, now, &mut Vec::new()) else { return 0 };
    news.facts.len()
}

fn speaker(incarnation: u64) -> Speaker {
    Speaker::new(origin(), Incarnation(incarnation))
}

#[test]
fn an_older_self_never_overwrites_a_newer_one() {
    let (mut peers, mut old, mut new) = (Peers::default(), speaker(1), speaker(2));
    old.say(share(7, 5), NOW);
    new.say(share(8, 1), NOW);
    assert_eq!(hear(&mut peers, old.since(0, 9, NOW).unwrap()), 1);
    assert_eq!(hear(&mut peers, new.since(0, 9, NOW).unwrap()), 1);
    assert_eq!(peers.open_work(EndpointKey(7)).0.requests, 0, "the old life's work ended with it");
    assert_eq!(hear(&mut peers, old.since(0, 9, NOW).unwrap()), 0);
    assert_eq!(peers.open_work(EndpointKey(8)).0.requests, 1);
}

#[test]
fn a_lost_peers_share_goes_at_once_and_its_next_life_is_not_touched_by_old_news_of_its_death() {
    let (mut peers, mut speaker) = (Peers::default(), speaker(3));
    speaker.say(share(7, 5), NOW);
    hear(&mut peers, speaker.since(0, 9, NOW).unwrap());
    assert!(peers.lose(&origin(), Incarnation(2)).is_empty());
    assert_eq!(peers.open_work(EndpointKey(7)).0.requests, 5);
    assert_eq!(peers.lose(&origin(), Incarnation(3)), [EndpointKey(7)]);
    assert_eq!(peers.open_work(EndpointKey(7)).0.requests, 0);
}

#[test]
fn a_gap_is_seen_and_a_snapshot_closes_it() {
    let (mut peers, mut speaker) = (Peers::default(), speaker(1));
    (0..6).for_each(|n| speaker.say(share(n, 1), NOW));
    hear(&mut peers, speaker.since(0, 2, NOW).unwrap());
    hear(&mut peers, speaker.since(4, 2, NOW).unwrap());
    assert_eq!((peers.upto(&origin(), Incarnation(1)), peers.summary(NOW)[0].gaps), (2, 1));
    hear(&mut peers, speaker.since(2, 9, NOW).unwrap());
    assert_eq!(peers.upto(&origin(), Incarnation(1)), 6);
    assert_eq!(peers.upto(&origin(), Incarnation(2)), 0, "of another life nothing was heard");
}

#[test]
fn a_placement_counts_once_whichever_lane_brings_it() {
    let (mut peers, mut speaker) = (Peers::default(), speaker(1));
    speaker.say(Record::Placement(Placement { endpoint: EndpointKey(1), anchors: Vec::new() }), NOW);
    let stream = speaker.since(0, 9, NOW).unwrap();
    let gossip = speaker.fragment(1..2, NOW);
    assert_eq!((hear(&mut peers, stream), hear(&mut peers, gossip)), (1, 0));
}

#[test]
fn history_may_be_told_by_many_and_moves_no_number() {
    let (mut peers, mut speaker) = (Peers::default(), speaker(1));
    speaker.say(share(7, 5), NOW);
    let placement = Record::Placement(Placement { endpoint: EndpointKey(1), anchors: Vec::new() });
    let placement = (placement, Duration::from_secs(3600));
    let history = speaker.history(vec![placement.clone(), placement]);
    assert_eq!((hear(&mut peers, history.clone()), hear(&mut peers, history)), (2, 2));
    assert_eq!(peers.upto(&origin(), Incarnation(1)), 0);
    assert_eq!(hear(&mut peers, speaker.since(0, 9, NOW).unwrap()), 1);
}

#[test]
fn there_are_only_so_many_peers() {
    let mut peers = Peers::default();
    let batch = |n: usize| Batch {
        origin: ReplicaId(format!("r{n}")),
        incarnation: Incarnation(1),
        after: 0,
        upto: 0,
        facts: Vec::new(),
    };
    for n in 0..PEERS_MAX {
        assert!(matches!(peers.hear(batch(n), NOW, &mut Vec::new()), Hearing::News(_)));
    }
    assert_eq!(peers.hear(batch(PEERS_MAX), NOW, &mut Vec::new()), Hearing::TooManyPeers);
}

#[test]
fn open_work_that_a_snapshot_leaves_out_is_void_after_a_moment() {
    let (mut peers, mut speaker) = (Peers::default(), speaker(1));
    speaker.say(share(7, 5), NOW);
    speaker.say(share(8, 1), NOW);
    hear(&mut peers, speaker.since(0, 9, NOW).unwrap());
    // While this replica was away, the removal was said and forgotten.
    let later = NOW + Duration::from_secs(300);
    speaker.say(Record::Removed(EndpointKey(7)), NOW);
    speaker.say(share(9, 1), later);
    let snapshot = speaker.since(2, 9, later).unwrap();
    assert_eq!(snapshot.after, 0);
    hear_at(&mut peers, snapshot, later);
    let mut voided = Vec::new();
    peers.expire(later + DOUBT_LASTS, &mut voided);
    assert_eq!(voided, [EndpointKey(7)]);
    let work = [7, 8, 9].map(|endpoint| peers.open_work(EndpointKey(endpoint)).0.requests);
    assert_eq!(work, [0, 1, 1]);
}

#[test]
fn a_snapshot_in_two_batches_voids_nothing_that_was_only_said_anew() {
    let (mut peers, mut speaker) = (Peers::default(), speaker(1));
    (0..4).for_each(|n| speaker.say(share(n, 1), NOW));
    hear(&mut peers, speaker.since(0, 9, NOW).unwrap());
    speaker.say(share(0, 2), NOW);
    hear(&mut peers, speaker.since(0, 2, NOW).unwrap());
    assert_eq!(peers.open_work(EndpointKey(0)).0.requests, 1, "it counts until the next batch comes");
    hear(&mut peers, speaker.since(3, 9, NOW).unwrap());
    let mut voided = Vec::new();
    peers.expire(NOW + DOUBT_LASTS, &mut voided);
    assert!(voided.is_empty());
    assert_eq!([0, 1, 2, 3].map(|endpoint| peers.open_work(EndpointKey(endpoint)).0.requests), [2, 1, 1, 1]);
}

#[test]
fn facts_that_find_no_room_are_counted_and_shown() {
    let (mut peers, mut speaker) = (Peers::default(), speaker(1));
    peers.enters(EndpointKey(1));
    for endpoint in 0..10_000 {
        speaker.say(share(endpoint, 1), NOW);
    }
    let batch = speaker.since(0, usize::MAX, NOW).unwrap();
    let Hearing::News(news) = peers.hear(batch, NOW, &mut Vec::new()) else { unreachable!() };
    let summary = peers.summary(NOW).remove(0);
    assert_eq!((news.refused as u64, news.facts.len() + news.refused), (summary.refused, 10_000));
    assert_eq!((summary.endpoints, summary.outside), (news.facts.len(), news.facts.len() - 1));
    assert!(summary.outside <= crate::fleet::ENDPOINTS_MAX);
}

/// What may happen to an origin and to one who hears it.
#[derive(Clone, Debug)]
enum Step {
    Says(u64, u32),
    Removes(u64),
    /// The hearer's own discovery, which is not simultaneous.
    Enters(u64),
    Leaves(u64),
    /// So many seconds pass.
    Passes(u64),
    /// Any batch that was ever cut comes, however late and however often.
    Streams(usize),
    /// So many pages of gossip come: of a key never an older value after a newer one.
    Gossips(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let endpoint = 0u64..5;
    let step = prop_oneof![
        4 => (endpoint.clone(), 0u32..4).prop_map(|(endpoint, requests)| Step::Says(endpoint, requests)),
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
    /// Batches and pages come in any order, late and more than once, endpoints go and come back, and discoveries differ:
    /// after one whole snapshot the hearer counts what the origin has, and it remembers only what is alive.
    #[test]
    fn removals_and_returns_end_in_the_same_view_over_both_lanes(steps in steps()) {
        let (mut peers, mut speaker, mut pages, mut now) = (Peers::default(), speaker(1), Pages::default(), NOW);
        let (mut batches, mut gossip, mut gossiped) = (Vec::<Batch>::new(), Vec::<Batch>::new(), 0);
        let mut truth = BTreeMap::<u64, u32>::new();
        for step in steps {
            let before = speaker.head();
            match step {
                Step::Says(endpoint, requests) => {
                    truth.insert(endpoint, requests);
                    speaker.say(share(endpoint, requests), now);
                }
                Step::Removes(endpoint) => {
                    if truth.remove(&endpoint).is_some() {
                        speaker.say(Record::Removed(EndpointKey(endpoint)), now);
                    }
                }
                Step::Enters(endpoint) => peers.enters(EndpointKey(endpoint)),
                Step::Leaves(endpoint) => peers.leaves(EndpointKey(endpoint), now),
                Step::Passes(seconds) => now = now + Duration::from_secs(seconds),
                Step::Streams(at) if !batches.is_empty() => {
                    hear_at(&mut peers, batches[at % batches.len()].clone(), now);
                }
                Step::Streams(_) => {}
                Step::Gossips(count) => {
                    for page in gossip.iter().skip(gossiped).take(count) {
                        hear_at(&mut peers, page.clone(), now);
                    }
                    gossiped = gossip.len().min(gossiped + count);
                }
            }
            if speaker.head() > before {
                batches.extend(speaker.since(before, 9, now));
                let written = pages.write(&speaker, now);
                gossip.extend(written.iter().map(|page| codec::decode(&page.bytes).unwrap().batch));
            }
            peers.expire(now, &mut Vec::new());
        }
        (0..5).for_each(|endpoint| peers.enters(EndpointKey(endpoint)));
        if let Some(snapshot) = speaker.since(0, usize::MAX, now) {
            hear_at(&mut peers, snapshot, now);
        }
        let counts = |peers: &Peers| (0..5).map(|n| peers.open_work(EndpointKey(n)).0.requests).collect::<Vec<_>>();
        let expected: Vec<u32> = (0..5).map(|n| truth.get(&n).copied().unwrap_or_default()).collect();
        now = now + DOUBT_LASTS;
        peers.expire(now, &mut Vec::new());
        prop_assert_eq!(counts(&peers), expected.clone());
        for batch in batches.into_iter().chain(gossip) {
            hear_at(&mut peers, batch, now);
        }
        peers.expire(now + DOUBT_LASTS, &mut Vec::new());
        prop_assert_eq!(counts(&peers), expected, "what comes late changes nothing");
        (0..5).filter(|n| !truth.contains_key(n)).for_each(|n| peers.leaves(EndpointKey(n), now));
        peers.expire(now + Duration::from_secs(60), &mut Vec::new());
        prop_assert!(peers.remembered() <= truth.len());
    }
}

proptest! {
    /// Whatever order batches come in, however often, and whatever is lost before a snapshot: the sums are the origin's.
    #[test]
    fn loss_repetition_and_reordering_are_harmless(
        words in proptest::collection::vec((0u64..5, 0u32..9), 1..40),
        order in proptest::collection::vec(0usize..40, 0..60),
    ) {
        let (mut peers, mut speaker, mut batches) = (Peers::default(), speaker(1), Vec::new());
        for &(endpoint, requests) in &words {
            let before = speaker.head();
            speaker.say(share(endpoint, requests), NOW);
            batches.extend(speaker.since(before, 9, NOW));
        }
        for at in order {
            hear(&mut peers, batches[at % batches.len()].clone());
        }
        hear(&mut peers, speaker.since(0, usize::MAX, NOW).unwrap());
        for endpoint in 0..5 {
            let last = words.iter().rev().find(|word| word.0 == endpoint).map_or(0, |word| word.1);
            prop_assert_eq!(peers.open_work(EndpointKey(endpoint)).0.requests, last);
        }
        prop_assert_eq!(peers.upto(&origin(), Incarnation(1)), speaker.head());
    }
}
