//! Tests of engines that lose their cache.

use super::*;
use crate::fleet::{Missing, Process};
use crate::id::PoolId;
use crate::plugin::testing::request;
use crate::replication::{CacheCleared, Fact, Placement, Record};

fn page_of(n: u16, process: Process, awake: bool) -> Input {
    let report = LoadReport { awake, process, ..LoadReport::default() };
    Input::Observed(id(n), Observation { report, age: Duration::ZERO })
}

fn started(n: u16, started_ms: u64) -> Input {
    page_of(n, Process { started_ms: Some(started_ms), work: None }, true)
}

fn worked(n: u16, work: u64) -> Input {
    page_of(n, Process { started_ms: None, work: Some(work) }, true)
}

/// Two replicas that believe that engine 0 holds a prompt. The first keeps the engine and has read `first` from it.
fn warm(first: Input) -> [Replica; 2] {
    let (mut a, mut b) = (Replica::new("a", 1), Replica::new("b", 1));
    a.handle(first, 10);
    assert_eq!(picked(&a.handle(ask(1, 7, 40), 20)), id(0));
    tell(&mut a, &mut b, 21);
    assert_eq!([blocks(&a), blocks(&b)], [40, 40]);
    [a, b]
}

fn blocks(replica: &Replica) -> u64 {
    replica.endpoint(0, 0).index_blocks
}

/// Blocks that both believe in after the first got `inputs`, a millisecond apart from 50 ms on.
fn after([a, b]: &mut [Replica; 2], inputs: Vec<Input>) -> [u64; 2] {
    for (at, input) in (50..).zip(inputs) {
        a.handle(input, at);
        tell(a, b, at);
    }
    [blocks(a), blocks(b)]
}

#[test]
fn an_engine_that_restarted_in_place_holds_nothing_on_any_replica() {
    assert_eq!(after(&mut warm(started(0, 1_000)), vec![started(0, 1_000)]), [40, 40]);
    assert_eq!(after(&mut warm(started(0, 1_000)), vec![started(0, 2_000)]), [0, 0]);
    assert_eq!(after(&mut warm(worked(0, 500)), vec![worked(0, 500), worked(0, 900)]), [40, 40]);
    assert_eq!(after(&mut warm(worked(0, 500)), vec![worked(0, 499)]), [0, 0], "a counter went back");
    assert_eq!(
        after(&mut warm(started(0, 1_000)), vec![started(0, 999), started(0, 1_000)]),
        [40, 40],
        "two processes behind one page"
    );
    let both = |started_ms, work| page_of(0, Process { started_ms: Some(started_ms), work: Some(work) }, true);
    assert_eq!(
        after(&mut warm(both(1_000, 500)), vec![both(1_000, 20)]),
        [40, 40],
        "the start decides where it is known"
    );
}

#[test]
fn an_engine_that_was_unreachable_and_is_back_holds_nothing() {
    let gone = || Input::Unreachable(id(0));
    assert_eq!(after(&mut warm(report(0, 0)), vec![gone(), report(0, 0)]), [40, 40], "one refused connection is none");
    assert_eq!(after(&mut warm(report(0, 0)), vec![gone(), gone(), report(0, 0)]), [0, 0]);
    assert_eq!(after(&mut warm(started(0, 1_000)), vec![gone(), gone(), started(0, 1_000)]), [0, 0]);
}

#[test]
fn a_peer_that_could_not_connect_clears_no_cache_of_an_unchanged_process() {
    let [mut a, mut b] = warm(started(0, 1_000));
    (50..52).for_each(|at| drop(b.handle(Input::Unreachable(id(0)), at)));
    tell(&mut b, &mut a, 52);
    assert!(!a.endpoint(0, 52).reachable);
    a.handle(started(0, 1_000), 60);
    tell(&mut a, &mut b, 61);
    assert_eq!([blocks(&a), blocks(&b)], [40, 40]);
}

#[test]
fn an_engine_that_slept_holds_nothing() {
    let asleep = || page_of(0, Process::default(), false);
    assert_eq!(after(&mut warm(report(0, 0)), vec![asleep()]), [0, 0]);
    assert_eq!(after(&mut warm(report(0, 0)), vec![asleep(), report(0, 0)]), [0, 0]);
}

#[test]
fn placements_after_a_loss_stay_when_old_facts_arrive_again() {
    let [mut a, mut b] = warm(started(0, 1_000));
    a.handle(started(0, 2_000), 50);
    tell(&mut a, &mut b, 51);
    b.handle(ask(2, 8, 32), 60);
    tell(&mut b, &mut a, 61);
    assert_eq!([blocks(&a), blocks(&b)], [32, 32]);
    let whole = a.publisher.since(0, usize::MAX, Timestamp::from_millis(70)).unwrap();
    b.handle(Input::Batch(Box::new(whole.clone())), 70);
    // A late gossip page, after the peer was lost and met again: its ages are not reliable.
    b.handle(Input::PeerLost(ReplicaId("a".into()), Incarnation(1)), 71);
    b.handle(Input::Batch(Box::new(Batch { after: Batch::FRAGMENT, ..whole })), 72);
    assert_eq!(blocks(&b), 32, "what is known of the process already clears nothing again");
}

#[test]
fn a_loss_that_a_lost_keeper_did_not_see_is_noticed_by_replicas_that_know_the_earlier_process() {
    let [a, mut b] = warm(started(0, 1_000));
    drop(a);
    // It knows the process from the keeper, and now it keeps the engine itself.
    b.handle(Input::PeerLost(ReplicaId("a".into()), Incarnation(1)), 40);
    b.handle(started(0, 2_000), 50);
    assert_eq!(blocks(&b), 0);

    // A joiner keeps it and knows no earlier process. A peer that does learns of the new one, and publishes it.
    let [mut a, mut b] = warm(started(0, 1_000));
    let mut joiner = Replica::new("c", 1);
    joiner.handle(started(0, 2_000), 50);
    tell(&mut joiner, &mut b, 51);
    assert_eq!(blocks(&b), 0);
    tell(&mut b, &mut a, 52);
    assert_eq!(blocks(&a), 0);
}

/// Two live replicas know that another engine has the name now; one that starts later gets old facts from their logs.
#[test]
fn a_joiner_believes_nothing_of_the_engine_that_had_the_name_before() {
    let moved = || {
        let address = SocketAddr::from(([10, 9, 9, 9], 8000));
        vec![EndpointChange::Upsert(Endpoint { id: id(0), address, labels: BTreeMap::new() })]
    };
    let back = || [vec![EndpointChange::Remove(id(0))], moved()].concat();
    for changes in [moved(), back()] {
        let [mut a, mut b] = warm(report(0, 0));
        for replica in [&mut a, &mut b] {
            changes.iter().for_each(|change| drop(replica.handle(Input::Discovered(vec![change.clone()]), 50)));
        }
        assert_eq!([blocks(&a), blocks(&b)], [0, 0]);
        a.handle(ask(2, 8, 16), 60);
        tell(&mut a, &mut b, 61);
        assert_eq!([blocks(&a), blocks(&b)], [16, 16]);
        // By the log alone, and after the history of the other one.
        for with_history in [false, true] {
            let mut joiner = Replica::new("c", 1);
            joiner.handle(Input::Discovered(moved()), 5);
            if with_history {
                let history = b.publisher.history(b.scheduler.history(100, Timestamp::from_millis(70)));
                joiner.handle(Input::Batch(Box::new(history)), 70);
            }
            let log = a.publisher.since(0, usize::MAX, Timestamp::from_millis(70)).unwrap();
            joiner.handle(Input::Batch(Box::new(log)), 70);
            assert_eq!(blocks(&joiner), 16, "{with_history} {changes:?}");
            assert_eq!(joiner.scheduler.digest().prefixes, a.scheduler.digest().prefixes);
        }
    }
}

#[test]
fn a_joiner_receives_losses_with_their_ages() {
    let [mut a, mut b] = warm(started(0, 1_000));
    b.handle(ask(2, 8, 20), 25);
    tell(&mut b, &mut a, 26);
    a.handle(started(0, 2_000), 50);
    tell(&mut a, &mut b, 51);
    b.handle(ask(3, 9, 10), 60);
    tell(&mut b, &mut a, 61);
    assert_eq!(blocks(&b), 10);

    // The keeper is gone; the other's log still has what it placed before the loss. The joiner started after all of it.
    let mut joiner = Replica::new("c", 1);
    let history = b.publisher.history(b.scheduler.history(100, Timestamp::from_millis(9_000)));
    let log = b.publisher.since(0, usize::MAX, Timestamp::from_millis(9_000)).unwrap();
    joiner.handle(Input::Batch(Box::new(history)), 5);
    assert_eq!(joiner.endpoint(0, 5).index_blocks, 10, "the history alone has their ages too");
    joiner.handle(Input::Batch(Box::new(log)), 6);
    assert_eq!(joiner.endpoint(0, 7).index_blocks, 10);
    assert_eq!(joiner.scheduler.digest().prefixes, b.scheduler.digest().prefixes);
}

#[test]
fn gauges_that_a_page_lacks_are_unknown_on_every_replica_and_cause_one_event() {
    let (mut a, mut b) = (Replica::new("a", 1), Replica::new("b", 1));
    let missing = Missing { kv_usage: true, ..Missing::default() };
    let page = |waiting| {
        let report = LoadReport { waiting, missing, awake: true, ..LoadReport::default() };
        Input::Observed(id(0), Observation { report, age: Duration::ZERO })
    };
    let events = |out: &Outbox| out.events.iter().filter(|event| matches!(event, Event::GaugesMissing { .. })).count();
    assert_eq!([events(&a.handle(page(50), 10)), events(&a.handle(page(51), 20))], [1, 0]);
    tell(&mut a, &mut b, 21);
    let received = b.endpoint(0, 21).report.unwrap();
    assert_eq!((received.waiting(), received.kv_usage()), (Some(51), None));
    assert_eq!(a.scheduler.digest().reports, b.scheduler.digest().reports);
    assert_eq!(events(&a.handle(report(0, 1), 30)), 1, "it has all gauges again");
}

proptest! {
    /// Two replicas publish placements and losses. Two others receive them in any order and any number of times.
    #[test]
    fn the_order_in_which_losses_and_placements_arrive_does_not_matter(
        published in proptest::collection::vec((0usize..2, 1u64..40, proptest::option::of(0u64..4)), 1..24),
        order in proptest::collection::vec(0usize..24, 0..48),
    ) {
        let mut logs = ["a", "b"].map(|name| FactLog::new(ReplicaId(name.into()), Incarnation(1)));
        let (mut facts, mut at) = (Vec::new(), 0);
        for (origin, later, what) in &published {
            at += later;
            let endpoint = id(0).key();
            let anchors = |prompt: u64| (0..5).map(|n| BlockHash(prompt * 10 + n)).collect();
            let record = match what {
                Some(prompt) => Record::Placement(Placement { endpoint, anchors: anchors(*prompt) }),
                None => Record::CacheCleared(CacheCleared { endpoint, started_ms: 0, lost: true }),
            };
            logs[*origin].publish(record, Timestamp::from_millis(at));
            facts.push((*origin, logs[*origin].head()));
        }
        let mut receivers = [Replica::new("c", 1), Replica::new("d", 1)];
        let mut receive = |receiver: usize, (origin, seq): (usize, u64), at: u64| {
            let batch = logs[origin].since(seq - 1, 1, Timestamp::from_millis(at)).unwrap();
            assert_eq!(batch.facts.iter().map(|fact: &Fact| fact.seq).collect::<Vec<_>>(), [seq]);
            receivers[receiver].handle(Input::Batch(Box::new(batch)), at);
        };
        let inorder = facts.iter().copied();
        let shuffled = order.iter().map(|&n| facts[n % facts.len()]).chain(facts.iter().rev().copied());
        inorder.enumerate().for_each(|(n, fact)| receive(0, fact, 2_000 + n as u64));
        shuffled.enumerate().for_each(|(n, fact)| receive(1, fact, 3_000 + 7 * n as u64));
        let [one, other] = &receivers;
        prop_assert_eq!(one.scheduler.digest().prefixes, other.scheduler.digest().prefixes);
        let lost = published.iter().rposition(|(_, _, what)| what.is_none());
        let left = published.iter().skip(lost.map_or(0, |lost| lost + 1)).any(|(_, _, what)| what.is_some());
        prop_assert_eq!(blocks(one) > 0, left);
    }
}

#[test]
fn what_a_peer_revoked_before_it_was_lost_is_not_revoked_again_when_it_is_back() {
    let (mut a, mut b) = (Replica::new("a", 1), Replica::new("b", 1));
    (0..2).for_each(|n| drop((a.handle(report(n, 0), 0), b.handle(report(n, 0), 0))));
    a.handle(ask(1, 7, 10), 1);
    a.handle(Input::TicketUpdate(Ticket(1), News::Finished(Outcome::Abandoned)), 2);
    tell(&mut a, &mut b, 3);
    b.handle(Input::PeerLost(ReplicaId("a".into()), Incarnation(1)), 10);
    let placed = picked(&b.handle(ask(2, 7, 10), 11));
    let number = placed.name()[1..].parse().unwrap();
    assert_eq!(b.endpoint(number, 12).index_blocks, 10);
    // By stream from the beginning, and by a page.
    let again = a.publisher.since(0, usize::MAX, Timestamp::from_millis(20)).unwrap();
    let page = Batch { after: Batch::FRAGMENT, ..again.clone() };
    b.handle(Input::Batch(Box::new(page)), 20);
    b.handle(Input::Batch(Box::new(again)), 21);
    assert_eq!(b.endpoint(number, 22).index_blocks, 10, "those were known");
}

#[test]
fn a_revocation_takes_away_nothing_that_another_replica_placed() {
    let [mut a, mut b, mut c] = ["a", "b", "c"].map(|name| Replica::new(name, 1));
    let placed = picked(&b.handle(ask(1, 7, 10), 1));
    tell(&mut b, &mut c, 2);
    let late = b.publisher.since(0, usize::MAX, Timestamp::from_millis(9_000)).unwrap();
    // `a` did not hear of it, as after a pause or in another part of the network.
    assert_eq!(picked(&a.handle(ask(2, 7, 10), 5_000)), placed);
    a.handle(Input::TicketUpdate(Ticket(2), News::Finished(Outcome::Abandoned)), 5_001);
    let revoked = a.news(5_002).unwrap();
    for other in [&mut b, &mut c] {
        other.handle(Input::Batch(Box::new(revoked.clone())), 5_002);
    }
    a.handle(Input::Batch(Box::new(late)), 9_000);
    let number = placed.name()[1..].parse().unwrap();
    assert_eq!([&a, &b, &c].map(|replica| replica.endpoint(number, 9_000).index_blocks), [10; 3]);
}

#[test]
fn a_joiner_learns_what_was_placed_in_the_last_second_after_a_loss() {
    let [mut a, _] = warm(started(0, 1));
    a.handle(started(0, 2), 1_000);
    assert_eq!(picked(&a.handle(ask(2, 8, 40), 1_500)), id(0));
    let mut joiner = Replica::new("c", 1);
    let history = a.publisher.history(a.scheduler.history(100, Timestamp::from_millis(1_600)));
    joiner.handle(Input::Batch(Box::new(history)), 5_000);
    assert_eq!(joiner.endpoint(0, 5_000).index_blocks, 40);
    assert_eq!(joiner.endpoint(0, 5_000).unseen, 0, "it says where blocks are, and not what load there is");
}

#[test]
fn a_placement_on_a_page_that_waited_does_not_outlive_a_later_loss() {
    let key = id(0).key();
    let batch = |after, upto, seq, record, age| {
        let facts = vec![Fact { seq, age: Duration::from_millis(age), record }];
        let (origin, incarnation, pool) = (ReplicaId("a".into()), Incarnation(1), PoolId::default());
        Input::Batch(Box::new(Batch { origin, incarnation, pool, after, upto, facts }))
    };
    let anchors = request(7, 40).prompt.chain.into_anchors();
    let placement = || Record::Placement(Placement { endpoint: key, anchors: anchors.clone() });
    let lost = Record::CacheCleared(CacheCleared { endpoint: key, lost: true, started_ms: 0 });
    let mut joiner = Replica::new("b", 1);
    joiner.handle(report(0, 0), 10_000);
    joiner.handle(batch(Batch::FRAGMENT, 9, 5, placement(), 0), 10_001);
    assert_eq!(blocks(&joiner), 40, "where blocks are");
    joiner.handle(batch(Batch::FRAGMENT, 0, Fact::HISTORY, lost, 900), 10_002);
    assert_eq!(blocks(&joiner), 0, "the page may be older than the loss");
    joiner.handle(batch(0, 9, 5, placement(), 100), 10_003);
    assert_eq!(blocks(&joiner), 40, "the stream knows its age");
}
