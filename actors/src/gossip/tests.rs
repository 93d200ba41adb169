//! Replicas on loopback: they find each other, exchange facts, detect lost peers, and refuse outsiders.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod attacks;
mod joining;
mod node;
mod restarts;

use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use murmuration::replication::{Pages, Record, ReplicaCard, codec};

use self::node::{Keys, Node, Plan, share, until};
use super::*;

const IGNORED: &str = "murmuration_peer_ignored_total";
const RELOADS: &str = "murmuration_reloads_total";

async fn three() -> [Node; 3] {
    let first = Node::start(Plan::new("a")).await;
    let second = Node::start(Plan::new("b").seed(&first)).await;
    let third = Node::start(Plan::new("c").seed(&first)).await;
    until("all see all", || [&first, &second, &third].iter().all(|node| node.names().len() == 2)).await;
    [first, second, third]
}

#[tokio::test]
async fn three_replicas_see_each_other_and_none_sees_itself() {
    let [a, b, c] = three().await;
    assert_eq!([a.names(), b.names(), c.names()], [["b", "c"], ["a", "c"], ["a", "b"]]);
    let member = a.members()[0].clone();
    assert_eq!((member.incarnation.0, member.card.zone.as_str()), (1, "zone-of-b"));
}

#[tokio::test]
async fn a_published_fact_reaches_each_peers_scheduler_once() {
    let [a, mut b, mut c] = three().await;
    a.publisher.publish([share(7, 3)]);
    for node in [&mut b, &mut c] {
        let batch = node.next_fact().await;
        assert_eq!((batch.origin.0.as_str(), batch.incarnation.0), ("a", 1));
        assert_eq!(batch.facts[0].record, share(7, 3).0);
    }
    a.publisher.publish([share(7, 4)]);
    for node in [&mut b, &mut c] {
        assert_eq!(node.next_fact().await.facts[0].record, share(7, 4).0, "and not the same a second time");
    }
    until("the head is known", || b.members()[0].head == 2).await;
    assert!(b.counted("murmuration_peer_bytes_total", "direction=\"sent\"") > 0.0);
}

#[tokio::test]
async fn facts_that_streams_carry_arrive_by_gossip_too() {
    let [a, mut b, mut c] = three().await;
    let _streams = [&b, &c].map(|node| a.publisher.subscribers().subscribe(node.publisher.me()));
    for requests in 1..4 {
        a.publisher.publish([share(7, requests)]);
        for node in [&mut b, &mut c] {
            assert_eq!(node.next_fact().await.facts[0].record, share(7, requests).0);
        }
    }
}

#[tokio::test]
async fn a_state_larger_than_a_datagram_reaches_a_joiner_sealed() {
    let keys = Keys::new("full", &[1]);
    let a = Node::start(Plan::new("a").keys(&keys)).await;
    // Endpoint keys as in production, which compression can't make smaller.
    let keys_of_endpoints = (1..=2_000u64).map(|endpoint| endpoint.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    keys_of_endpoints.for_each(|endpoint| {
        a.publisher.publish([node::placement(endpoint), node::load(endpoint), share(endpoint, 1)])
    });
    // The ring of pages wraps more than once: only the last value of each key counts.
    let pages = a.publisher.write(&mut Pages::default(), codec::VERSION).into_iter().map(|page| (page.key, page.bytes));
    let pages: BTreeMap<String, Vec<u8>> = pages.collect();
    assert!(
        pages.values().map(Vec::len).sum::<usize>() > 80_000,
        "more than a datagram, however well it is compressed"
    );
    let published = pages.values().flat_map(|bytes| codec::decode(bytes).unwrap().batch.facts);
    let mut missing: BTreeSet<u64> = published.map(|fact| fact.seq).collect();
    let mut b = Node::start(Plan::new("b").keys(&keys).seed(&a)).await;
    while !missing.is_empty() {
        b.next_fact().await.facts.iter().for_each(|fact| {
            missing.remove(&fact.seq);
        });
    }
}

#[tokio::test]
async fn a_restarted_scheduler_receives_everything_again() {
    let [a, mut b, _c] = three().await;
    a.publisher.publish([share(7, 3)]);
    b.next_fact().await;
    b.gossip.resync();
    assert_eq!(b.next_fact().await.facts[0].record, share(7, 3).0);
}

#[tokio::test]
async fn a_killed_replica_leaves_the_members_and_its_next_incarnation_replaces_it() {
    let [a, b, mut c] = three().await;
    let seeds = a.address();
    drop(b);
    until("b is gone", || a.names() == ["c"] && c.names() == ["a"]).await;
    let b = Node::start(Plan::new("b").incarnation(2).seed_at(seeds)).await;
    until("b is back", || a.lives() == [("b".to_owned(), 2), ("c".to_owned(), 1)]).await;
    b.publisher.publish([share(7, 1)]);
    assert_eq!(c.next_fact().await.incarnation.0, 2);
}

#[tokio::test]
async fn a_newer_incarnation_replaces_the_older_before_the_older_is_dead() {
    let [a, b, _c] = three().await;
    let newer = Node::start(Plan::new("b").incarnation(9).seed(&a)).await;
    until("the newer one is there", || a.lives().contains(&("b".to_owned(), 9))).await;
    assert_eq!(a.names(), ["b", "c"]);
    assert!(newer.names().iter().all(|name| name != "b"), "an older incarnation of itself is no peer");
    drop(b);
}

#[tokio::test]
async fn a_replica_that_leaves_announces_it_first() {
    let [a, b, mut c] = three().await;
    b.publisher.publish([share(7, 0)]);
    let mut members = a.gossip.members();
    let draining = async { members.wait_for(|members| members.iter().any(|m| m.card.draining)).await.map(|_| ()) };
    let (seen, ()) = tokio::join!(tokio::time::timeout(node::PATIENCE, draining), b.gossip.leave());
    assert!(matches!(seen, Ok(Ok(()))));
    assert_eq!(c.next_fact().await.facts[0].record, share(7, 0).0, "its last fact was sent");
    until("b is gone", || a.names() == ["c"]).await;
}

#[tokio::test]
async fn a_wrong_key_never_joins_and_is_counted() {
    let (keys, other) = (Keys::new("right", &[1]), Keys::new("wrong", &[2]));
    let a = Node::start(Plan::new("a").keys(&keys)).await;
    let b = Node::start(Plan::new("b").keys(&keys).seed(&a)).await;
    let outsider = Node::start(Plan::new("x").keys(&other).seed(&a)).await;
    let plain = Node::start(Plan::new("y").seed(&a)).await;
    until("peers meet", || a.names() == ["b"] && b.names() == ["a"]).await;
    until("refused datagrams are counted", || a.counted(IGNORED, "reason=\"unsealed\"") > 20.0).await;
    assert_eq!((a.names(), b.names()), (vec!["b".to_owned()], vec!["a".to_owned()]));
    assert!(outsider.names().is_empty() && plain.names().is_empty());
}

#[tokio::test]
async fn keys_are_replaced_without_a_restart() {
    let keys = [Keys::new("rotated-a", &[1]), Keys::new("rotated-b", &[1])];
    let a = Node::start(Plan::new("a").keys(&keys[0])).await;
    let mut b = Node::start(Plan::new("b").keys(&keys[1]).seed(&a)).await;
    until("they meet", || a.names() == ["b"] && b.names() == ["a"]).await;
    let mut requests = 0;
    // One replica at a time, as mounted secrets change.
    for lines in [&[1, 2][..], &[2, 1], &[2]] {
        for (node, keys) in [&a, &b].into_iter().zip(&keys) {
            let before = node.counted(RELOADS, "result=\"ok\"");
            keys.write(lines);
            until("the keys are read", || node.counted(RELOADS, "result=\"ok\"") > before).await;
        }
        requests += 1;
        a.publisher.publish([share(7, requests)]);
        assert_eq!(b.next_fact().await.facts[0].record, share(7, requests).0);
        assert_eq!((a.names(), b.names()), (vec!["b".to_owned()], vec!["a".to_owned()]));
    }
    let old = Keys::new("rotated-old", &[1]);
    let late = Node::start(Plan::new("late").keys(&old).seed(&a)).await;
    let _new = Node::start(Plan::new("new").keys(&keys[1]).seed(&a)).await;
    until("a replica with the new key joins", || a.names() == ["b", "new"]).await;
    until("datagrams under the old key are counted", || a.counted(IGNORED, "unsealed") > 10.0).await;
    assert!(late.names().is_empty() && a.names() == ["b", "new"]);
    keys[0].write_text("not a key");
    until("the broken file is reported", || a.counted(RELOADS, "result=\"failed\"") > 0.0).await;
    a.publisher.publish([share(8, 1)]);
    assert!(b.next_fact().await.facts.iter().any(|fact| fact.record == share(8, 1).0), "the old keys stay");
}

#[tokio::test]
async fn garbage_and_absurd_datagrams_do_no_harm() {
    for seal in [Some(Keys::new("garbage", &[1])), None] {
        let plan = |name| seal.iter().fold(Plan::new(name), Plan::keys);
        let a = Node::start(plan("a")).await;
        let mut b = Node::start(plan("b").seed(&a)).await;
        until("they meet", || a.names() == ["b"]).await;
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let plain = envelope::Envelope::new("tier", None);
        for size in [0, 1, 5, 33, 34, 100, 1_400, 40_000, 65_000] {
            let noise: Vec<u8> = (0..size).map(|at| (at as u64).wrapping_mul(0x9e37_79b9).to_le_bytes()[2]).collect();
            let zeros = vec![0; size];
            let of_the_tier = plain.wrap_version_one([0; 12], &noise).unwrap();
            // Begins like a message of chitchat's and continues as nonsense.
            let begun: Vec<u8> = [&[0][..], &45_139_u16.to_le_bytes(), &[0, (size % 4) as u8], &noise].concat();
            let begun_too = plain.wrap(&attacks::word("x", &begun)).unwrap();
            let begun = plain.wrap_version_one([0; 12], &begun).unwrap();
            for datagram in [noise, zeros, of_the_tier, begun, begun_too] {
                let _ = socket.send_to(&datagram, a.address());
            }
        }
        until("it is counted", || a.counted(IGNORED, "") > 5.0).await;
        a.publisher.publish([share(7, 1)]);
        assert_eq!(b.next_fact().await.facts[0].record, share(7, 1).0);
        assert_eq!(a.names(), ["b"]);
    }
}

#[tokio::test]
async fn a_peer_with_a_newer_wire_version_is_a_member_and_its_facts_are_skipped() {
    let a = Node::start(Plan::new("a")).await;
    let newer = |card: &mut ReplicaCard| card.wire = (200, 201);
    let b = Node::start(Plan::new("b").seed(&a).card(newer)).await;
    until("they meet", || a.names() == ["b"]).await;
    b.publisher.publish([share(7, 1)]);
    until("it is skipped", || a.counted(IGNORED, "reason=\"too-new\"") > 0.0).await;
    assert_eq!(a.counted("murmuration_peer_facts_total", ""), 0.0);
}

/// Pages are one for all readers, so they are written as the oldest of them reads them.
#[tokio::test]
async fn a_peer_of_an_earlier_wire_version_reads_what_was_written_before_it_came() {
    let a = Node::start(Plan::new("a")).await;
    let mut c = Node::start(Plan::new("c").seed(&a)).await;
    a.publisher.publish([share(7, 1)]);
    assert_eq!(c.next_fact().await.facts[0].record, share(7, 1).0);
    let earlier = |card: &mut ReplicaCard| card.wire = (1, 3);
    let mut b = Node::start(Plan::new("b").seed(&a).card(earlier)).await;
    let carried = |record: Record| codec::within(3, record).unwrap();
    assert_eq!(b.next_fact().await.facts[0].record, carried(share(7, 1).0));
    a.publisher.publish([share(8, 2)]);
    assert!(b.next_fact().await.facts.iter().any(|fact| fact.record == carried(share(8, 2).0)));
    b.publisher.publish([share(9, 3)]);
    while c.next_fact().await.facts[0].record != carried(share(9, 3).0) {}
}

#[tokio::test]
async fn settings_that_can_not_work_are_refused() {
    assert!(matches!(Plan::new("").try_start().await, Err(GossipError::Name(0))));
    assert!(matches!(Plan::new("a").interval(Duration::ZERO).try_start().await, Err(GossipError::Interval)));
    let vast = |card: &mut ReplicaCard| card.zone = "z".repeat(VALUE_BYTES_MAX);
    assert!(matches!(Plan::new("a").card(vast).try_start().await, Err(GossipError::Card(_))));
    let keys = Keys::new("none", &[]);
    assert!(matches!(Plan::new("a").keys(&keys).try_start().await, Err(GossipError::Key(KeyError::Count(0)))));
    keys.write_text(&STANDARD.encode([1; 16]));
    assert!(matches!(Plan::new("a").keys(&keys).try_start().await, Err(GossipError::Key(KeyError::Line(1)))));
}

#[tokio::test]
async fn seeds_may_be_names() {
    let a = Node::start(Plan::new("a")).await;
    let b = Node::start(Plan::new("b").seed_named(format!("localhost:{}", a.address().port()))).await;
    until("they meet", || a.names() == ["b"] && b.names() == ["a"]).await;
}

#[tokio::test]
async fn a_frozen_replica_that_returns_is_a_member_again_and_its_facts_are_received_again() {
    let mut a = Node::start(Plan::new("a")).await;
    let seed = a.address();
    let (thaw, thawed) = std::sync::mpsc::channel::<()>();
    let (freeze, frozen) = tokio::sync::oneshot::channel::<()>();
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    // On a runtime of its own with one thread, so that blocking it stops all of its tasks, as SIGSTOP does.
    let other = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let b = Node::start(Plan::new("b").seed_at(seed)).await;
            b.publisher.publish([share(7, 3)]);
            frozen.await.unwrap();
            thawed.recv().unwrap();
            until("b still knows a", || b.names() == ["a"]).await;
            finished.await.unwrap();
        });
    });
    until("b is there", || a.names() == ["b"]).await;
    assert_eq!(a.next_fact().await.facts[0].record, share(7, 3).0);
    freeze.send(()).unwrap();
    until("b is gone", || a.names().is_empty()).await;
    thaw.send(()).unwrap();
    until("b is back", || a.lives() == [("b".to_owned(), 1)]).await;
    assert_eq!(a.next_fact().await.facts[0].record, share(7, 3).0, "its facts are received again");
    finish.send(()).unwrap();
    other.join().unwrap();
}
