//! The life cycle of a stream: facts, interruption, continuation, another incarnation.

use super::*;

#[tokio::test]
async fn published_facts_arrive_in_order_and_once() {
    let server = TestServer::starts(publisher(1)).await;
    publish_placements(&server.publisher, 100);
    let follower = TestFollower::follows(vec![server.member()]).await;
    for _ in 0..200 {
        publish_placements(&server.publisher, 3);
        tokio::task::yield_now().await;
    }
    follower.received_up_to(700).await;
    assert_eq!(follower.numbers(), (1..=700).collect::<Vec<_>>());
    let mut upto = 0;
    for batch in follower.batches() {
        assert_eq!(batch.after, upto, "each continues the one before");
        upto = batch.upto;
    }
    let state = follower.stream().unwrap();
    assert!(state.connected && state.caught_up);
    eventually(|| follower.stream().is_some_and(|state| state.upto == 700)).await;
}

#[tokio::test]
async fn a_follower_that_calls_again_continues_without_a_snapshot() {
    let server = TestServer::starts(publisher(1)).await;
    publish_placements(&server.publisher, 50);
    let follower = TestFollower::follows(vec![server.member()]).await;
    follower.received_up_to(50).await;
    let publisher = server.publisher.clone();
    let address = server.ends().await;
    eventually(|| follower.is_down_because("")).await;
    publish_placements(&publisher, 50);
    let _server = TestServer::starts_at(publisher, PeerTls::Plain, address).await;
    follower.received_up_to(100).await;
    assert_eq!(follower.numbers(), (1..=100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_server_that_closes_sends_its_last_fact() {
    let server = TestServer::starts(publisher(1)).await;
    publish_in_flight(&server.publisher, 1, 1);
    let follower = TestFollower::follows(vec![server.member()]).await;
    follower.received_up_to(1).await;
    publish_in_flight(&server.publisher, 1, 0);
    server.ends().await;
    follower.received_up_to(2).await;
}

#[tokio::test]
async fn a_new_incarnation_is_received_from_the_beginning() {
    let old = TestServer::starts(publisher(1)).await;
    publish_placements(&old.publisher, 50);
    let follower = TestFollower::follows(vec![old.member()]).await;
    follower.received_up_to(50).await;
    let new = TestServer::starts(publisher(2)).await;
    publish_placements(&new.publisher, 3);
    follower.members.send_replace(vec![new.member()]);
    eventually(|| follower.batches().iter().any(|batch| batch.incarnation == Incarnation(2))).await;
    let batches = follower.batches();
    let first = batches.iter().find(|batch| batch.incarnation == Incarnation(2)).unwrap();
    assert_eq!((first.after, first.upto), (0, 3));
    assert_eq!(follower.stream().unwrap().incarnation, Incarnation(2));
}

#[tokio::test]
async fn an_incarnation_newer_than_the_members_is_followed_and_an_older_one_is_not() {
    let server = TestServer::starts(publisher(5)).await;
    publish_placements(&server.publisher, 3);
    let early = TestFollower::follows(vec![member(4, server.address)]).await;
    early.received_up_to(3).await;
    assert_eq!(early.stream().unwrap().incarnation, Incarnation(5));
    let late = TestFollower::follows(vec![member(6, server.address)]).await;
    eventually(|| late.is_down_because("older incarnation")).await;
    assert!(late.batches().is_empty());
    assert!(ignored(&late.telemetry, "stale-incarnation") >= 1.0);
}

#[tokio::test]
async fn a_follower_whose_scheduler_restarted_receives_all_again() {
    let server = TestServer::starts(publisher(1)).await;
    publish_placements(&server.publisher, 10);
    let follower = TestFollower::follows(vec![server.member()]).await;
    follower.received_up_to(10).await;
    follower.resync.send_modify(|restarts| *restarts += 1);
    eventually(|| follower.batches().len() >= 2).await;
    let again = follower.batches().pop().unwrap();
    assert_eq!((again.after, again.upto), (0, 10));
}

#[tokio::test]
async fn a_head_that_the_stream_does_not_reach_is_a_gap_and_is_repaired_from_the_cursor() {
    let server = TestServer::starts(publisher(1)).await;
    publish_placements(&server.publisher, 10);
    let follower = TestFollower::follows(vec![server.member()]).await;
    follower.received_up_to(10).await;
    follower.members.send_replace(vec![Member { head: 11, ..server.member() }]);
    eventually(|| counted(&follower.telemetry, "murmuration_peer_repairs_total", "") >= 1.0).await;
    publish_placements(&server.publisher, 1);
    follower.received_up_to(11).await;
    assert_eq!(follower.numbers(), (1..=11).collect::<Vec<_>>(), "nothing is sent twice");
}

#[tokio::test]
async fn a_member_that_is_gone_is_not_followed_any_more() {
    let server = TestServer::starts(publisher(1)).await;
    let follower = TestFollower::follows(vec![server.member()]).await;
    eventually(|| follower.stream().is_some_and(|state| state.connected)).await;
    follower.members.send_replace(Vec::new());
    eventually(|| follower.stream().is_none()).await;
    publish_placements(&server.publisher, 1);
    follower.members.send_replace(vec![server.member()]);
    follower.received_up_to(1).await;
    assert!(follower.batches().iter().any(|batch| (batch.after, batch.upto) == (0, 1)), "received from the beginning");
}

/// The batches whose facts have an age; history has none.
fn dated(follower: &TestFollower) -> usize {
    follower.batches().iter().filter(|batch| batch.facts.iter().any(|fact| fact.seq != Fact::HISTORY)).count()
}

/// The ages that the metrics count: all, and those up to 16 s.
fn aged(follower: &TestFollower) -> (usize, usize) {
    let upto = |le: &str| counted(&follower.telemetry, "murmuration_peer_fact_age_seconds_bucket", le) as usize;
    (upto("le=\"+Inf\""), upto("le=\"16.384\""))
}

/// A peer that is lost and returns in the same incarnation was partitioned. Both sides may have facts of peers that
/// died meanwhile.
#[tokio::test]
async fn a_partitioned_peer_is_asked_for_history_and_a_restarted_one_is_not() {
    let server = TestServer::starts(publisher(1)).await;
    publish_placements(&server.publisher, 1);
    let follower = TestFollower::follows(vec![server.member()]).await;
    let histories = || follower.batches().iter().filter(|batch| batch.facts.iter().any(|fact| fact.seq == 0)).count();
    follower.received_up_to(1).await;
    assert_eq!(histories(), 0, "no replica joined");
    follower.members.send_replace(Vec::new());
    eventually(|| follower.stream().is_none()).await;
    follower.members.send_replace(vec![server.member()]);
    eventually(|| histories() == 1).await;
    eventually(|| aged(&follower) == (dated(&follower), dated(&follower))).await;
    follower.members.send_replace(Vec::new());
    eventually(|| follower.stream().is_none()).await;
    let new = TestServer::starts(publisher(2)).await;
    publish_placements(&new.publisher, 1);
    follower.members.send_replace(vec![new.member()]);
    eventually(|| follower.batches().iter().any(|batch| batch.incarnation == Incarnation(2) && batch.upto == 1)).await;
    assert_eq!(histories(), 1);
}

/// Batches that waited in its socket meanwhile would have too low an age. Sent again, they have the true one.
#[tokio::test]
async fn a_stalled_replica_calls_again_from_its_cursor() {
    let server = TestServer::starts(publisher(1)).await;
    publish_placements(&server.publisher, 3);
    let follower = TestFollower::follows(vec![server.member()]).await;
    follower.received_up_to(3).await;
    let requested = |why: String| why.contains("reconnect requested");
    let again = || follower.stream().is_some_and(|is| is.connected && is.why.is_some_and(requested));
    assert!(!again());
    // Time passes and no task runs, as in a process that is stopped and continued.
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(3)).await;
    tokio::time::resume();
    eventually(again).await;
    publish_placements(&server.publisher, 2);
    follower.received_up_to(5).await;
    let (history, published): (Vec<u64>, Vec<u64>) =
        follower.numbers().into_iter().partition(|seq| *seq == Fact::HISTORY);
    assert_eq!(published, [1, 2, 3, 4, 5], "nothing is sent twice");
    assert_eq!(history.len(), 1, "a peer that died meanwhile may have told others what it placed last");
}

#[tokio::test]
async fn a_joiner_has_caught_up_when_all_peers_delivered_their_facts() {
    let server = TestServer::starts(publisher(1)).await;
    publish_placements(&server.publisher, 5_000);
    let follower = TestFollower::follows(vec![server.member()]).await;
    assert!(caught_up(&PoolId::default(), follower.members.subscribe(), follower.following.states()).await);
    assert_eq!(follower.batches().last().unwrap().upto, 5_000);
}

#[tokio::test]
async fn a_joiner_does_not_wait_for_a_member_that_left_nor_forever_for_a_silent_one() {
    // Bound but never accepted from: the connection opens and no reply comes.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let follower = TestFollower::follows(vec![member(1, silent.local_addr().unwrap())]).await;
    assert!(!caught_up(&PoolId::default(), follower.members.subscribe(), follower.following.states()).await);
    let pool = PoolId::default();
    let waiting = caught_up(&pool, follower.members.subscribe(), follower.following.states());
    let leaving = async { drop(follower.members.send_replace(Vec::new())) };
    assert!(tokio::join!(waiting, leaving).0);
}
