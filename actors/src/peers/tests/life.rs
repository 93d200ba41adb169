//! The life of a stream: told, cut, continued, born again.

use super::*;

#[tokio::test]
async fn what_is_said_arrives_in_order_and_once() {
    let told = Told::starts(publisher(1)).await;
    place(&told.publisher, 100);
    let hearer = Hearer::follows(vec![told.member()]).await;
    for _ in 0..200 {
        place(&told.publisher, 3);
        tokio::task::yield_now().await;
    }
    hearer.heard_up_to(700).await;
    assert_eq!(hearer.numbers(), (1..=700).collect::<Vec<_>>());
    let mut upto = 0;
    for batch in hearer.batches() {
        assert_eq!(batch.after, upto, "each continues the one before");
        upto = batch.upto;
    }
    let state = hearer.stream().unwrap();
    assert!(state.connected && state.caught_up);
    eventually(|| hearer.stream().is_some_and(|state| state.upto == 700)).await;
}

#[tokio::test]
async fn a_follower_that_calls_again_continues_without_a_snapshot() {
    let told = Told::starts(publisher(1)).await;
    place(&told.publisher, 50);
    let hearer = Hearer::follows(vec![told.member()]).await;
    hearer.heard_up_to(50).await;
    let publisher = told.publisher.clone();
    let address = told.ends().await;
    eventually(|| hearer.is_down_because("")).await;
    place(&publisher, 50);
    let _told = Told::starts_at(publisher, PeerTls::Plain, address).await;
    hearer.heard_up_to(100).await;
    assert_eq!(hearer.numbers(), (1..=100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_server_that_closes_tells_its_last_word() {
    let told = Told::starts(publisher(1)).await;
    share(&told.publisher, 1, 1);
    let hearer = Hearer::follows(vec![told.member()]).await;
    hearer.heard_up_to(1).await;
    share(&told.publisher, 1, 0);
    told.ends().await;
    hearer.heard_up_to(2).await;
}

#[tokio::test]
async fn a_new_life_is_heard_from_the_beginning() {
    let old = Told::starts(publisher(1)).await;
    place(&old.publisher, 50);
    let hearer = Hearer::follows(vec![old.member()]).await;
    hearer.heard_up_to(50).await;
    let new = Told::starts(publisher(2)).await;
    place(&new.publisher, 3);
    hearer.members.send_replace(vec![new.member()]);
    eventually(|| hearer.batches().iter().any(|batch| batch.incarnation == Incarnation(2))).await;
    let batches = hearer.batches();
    let first = batches.iter().find(|batch| batch.incarnation == Incarnation(2)).unwrap();
    assert_eq!((first.after, first.upto), (0, 3));
    assert_eq!(hearer.stream().unwrap().incarnation, Incarnation(2));
}

#[tokio::test]
async fn a_life_that_the_roster_does_not_know_yet_is_heard_and_one_that_is_over_is_not() {
    let told = Told::starts(publisher(5)).await;
    place(&told.publisher, 3);
    let early = Hearer::follows(vec![member(4, told.address)]).await;
    early.heard_up_to(3).await;
    assert_eq!(early.stream().unwrap().incarnation, Incarnation(5));
    let late = Hearer::follows(vec![member(6, told.address)]).await;
    eventually(|| late.is_down_because("older life")).await;
    assert!(late.batches().is_empty());
    assert!(ignored(&late.telemetry, "past-life") >= 1.0);
}

#[tokio::test]
async fn whoever_was_born_again_hears_all_anew() {
    let told = Told::starts(publisher(1)).await;
    place(&told.publisher, 10);
    let hearer = Hearer::follows(vec![told.member()]).await;
    hearer.heard_up_to(10).await;
    hearer.rehear.send_modify(|births| *births += 1);
    eventually(|| hearer.batches().len() >= 2).await;
    let again = hearer.batches().pop().unwrap();
    assert_eq!((again.after, again.upto), (0, 10));
}

#[tokio::test]
async fn a_head_that_the_stream_does_not_reach_is_a_gap_and_is_repaired_from_the_cursor() {
    let told = Told::starts(publisher(1)).await;
    place(&told.publisher, 10);
    let hearer = Hearer::follows(vec![told.member()]).await;
    hearer.heard_up_to(10).await;
    hearer.members.send_replace(vec![Member { head: 11, ..told.member() }]);
    eventually(|| counted(&hearer.telemetry, "murmuration_peer_repairs_total", "") >= 1.0).await;
    place(&told.publisher, 1);
    hearer.heard_up_to(11).await;
    assert_eq!(hearer.numbers(), (1..=11).collect::<Vec<_>>(), "nothing is told twice");
}

#[tokio::test]
async fn a_member_that_is_gone_is_not_followed_any_more() {
    let told = Told::starts(publisher(1)).await;
    let hearer = Hearer::follows(vec![told.member()]).await;
    eventually(|| hearer.stream().is_some_and(|state| state.connected)).await;
    hearer.members.send_replace(Vec::new());
    eventually(|| hearer.stream().is_none()).await;
    place(&told.publisher, 1);
    hearer.members.send_replace(vec![told.member()]);
    hearer.heard_up_to(1).await;
    assert!(hearer.batches().iter().any(|batch| (batch.after, batch.upto) == (0, 1)), "heard from the beginning");
}

/// The batches whose facts have an age; history has none.
fn dated(hearer: &Hearer) -> usize {
    hearer.batches().iter().filter(|batch| batch.facts.iter().any(|fact| fact.seq != Fact::HISTORY)).count()
}

/// The ages that the metrics count: all of them, and those that are no hour.
fn aged(hearer: &Hearer) -> (usize, usize) {
    let upto = |le: &str| counted(&hearer.telemetry, "murmuration_peer_fact_age_seconds_bucket", le) as usize;
    (upto("le=\"+Inf\""), upto("le=\"16.384\""))
}

/// Whoever was lost and comes back in the same life was apart: both may have heard of others who died meanwhile.
#[tokio::test]
async fn a_peer_that_was_apart_is_asked_for_history_and_one_that_was_dead_is_not() {
    let told = Told::starts(publisher(1)).await;
    place(&told.publisher, 1);
    let hearer = Hearer::follows(vec![told.member()]).await;
    let histories = || hearer.batches().iter().filter(|batch| batch.facts.iter().any(|fact| fact.seq == 0)).count();
    hearer.heard_up_to(1).await;
    assert_eq!(histories(), 0, "nobody joined");
    hearer.members.send_replace(Vec::new());
    eventually(|| hearer.stream().is_none()).await;
    hearer.members.send_replace(vec![told.member()]);
    eventually(|| histories() == 1).await;
    eventually(|| aged(&hearer) == (dated(&hearer), dated(&hearer))).await;
    hearer.members.send_replace(Vec::new());
    eventually(|| hearer.stream().is_none()).await;
    let new = Told::starts(publisher(2)).await;
    place(&new.publisher, 1);
    hearer.members.send_replace(vec![new.member()]);
    eventually(|| hearer.batches().iter().any(|batch| batch.incarnation == Incarnation(2) && batch.upto == 1)).await;
    assert_eq!(histories(), 1);
}

/// What lay in its socket meanwhile would seem as young as if it had just been said; told again, it has its true age.
#[tokio::test]
async fn a_replica_that_stood_still_asks_again_from_where_it_was() {
    let told = Told::starts(publisher(1)).await;
    place(&told.publisher, 3);
    let hearer = Hearer::follows(vec![told.member()]).await;
    hearer.heard_up_to(3).await;
    let again =
        || hearer.stream().is_some_and(|is| is.connected && is.why.is_some_and(|why| why.contains("heard anew")));
    assert!(!again());
    // Time goes on and nobody's turn comes: so it is for a process that is stopped and continued.
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(3)).await;
    tokio::time::resume();
    eventually(again).await;
    place(&told.publisher, 2);
    hearer.heard_up_to(5).await;
    assert_eq!(hearer.numbers(), (1..=5).collect::<Vec<_>>(), "nothing is told twice");
}

#[tokio::test]
async fn a_joiner_has_caught_up_when_all_have_delivered_what_they_had_said() {
    let told = Told::starts(publisher(1)).await;
    place(&told.publisher, 5_000);
    let hearer = Hearer::follows(vec![told.member()]).await;
    assert!(caught_up(hearer.members.subscribe(), hearer.following.states()).await);
    assert_eq!(hearer.batches().last().unwrap().upto, 5_000);
}

#[tokio::test]
async fn a_joiner_waits_for_nobody_who_left_and_not_for_ever_for_who_is_silent() {
    // Bound and never accepted from: the connection opens and nobody answers.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let hearer = Hearer::follows(vec![member(1, silent.local_addr().unwrap())]).await;
    assert!(!caught_up(hearer.members.subscribe(), hearer.following.states()).await);
    let waiting = caught_up(hearer.members.subscribe(), hearer.following.states());
    let leaving = async { drop(hearer.members.send_replace(Vec::new())) };
    assert!(tokio::join!(waiting, leaving).0);
}
