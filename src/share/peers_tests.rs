//! What must hold of hearing.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::share::record::{Placement, Record};
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
    let (from, mut released) = (batch.origin.clone(), Vec::new());
    let Hearing::News(facts) = peers.hear(batch, NOW, &mut released) else { return 0 };
    for fact in &facts {
        if let Record::InFlight(share) = fact.record {
            peers.set_share(&from, share);
        }
    }
    facts.len()
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
    (0..PEERS_MAX).for_each(|n| assert_eq!(peers.hear(batch(n), NOW, &mut Vec::new()), Hearing::News(Vec::new())));
    assert_eq!(peers.hear(batch(PEERS_MAX), NOW, &mut Vec::new()), Hearing::TooManyPeers);
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
