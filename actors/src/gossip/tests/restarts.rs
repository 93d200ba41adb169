//! Restarts of one replica: after a clock that went back, and after chitchat failed.

use std::time::Duration;

use super::node::{Keys, Node, Plan, share, until};

const RESTARTS: &str = "murmuration_actor_restarts_total";

/// The machine's clock was set back by a day before the restart.
#[tokio::test]
async fn a_replica_whose_clock_went_back_is_accepted_at_once_where_peers_live() {
    let day = 24 * 3_600_000;
    let a = Node::start(Plan::new("a")).await;
    let mut c = Node::start(Plan::new("c").seed(&a)).await;
    let b = Node::start(Plan::new("b").incarnation(5 * day).seed(&a)).await;
    until("they meet", || a.names() == ["b", "c"] && c.names() == ["a", "b"]).await;
    drop(b);
    // Both before its former incarnation is declared dead and after that.
    for expected in [5 * day + 1, 5 * day + 2] {
        let b = Node::start(Plan::new("b").incarnation(4 * day).seed(&a)).await;
        assert_eq!(b.incarnation(), expected, "agreed before it publishes");
        assert_eq!(b.publisher.incarnation().0, expected);
        until("it is accepted", || a.lives().contains(&("b".to_owned(), expected))).await;
        b.publisher.publish([share(7, 3)]);
        let received = loop {
            let batch = c.next_fact().await;
            if batch.incarnation.0 == expected {
                break batch;
            }
        };
        assert_eq!(received.facts[0].record, share(7, 3).0);
        drop(b);
        until("it is gone", || a.names() == ["c"]).await;
    }
}

/// It starts without peers, and finds out later.
#[tokio::test]
async fn a_replica_that_learns_late_of_a_higher_incarnation_starts_the_next_one() {
    let a = Node::start(Plan::new("a")).await;
    let first = Node::start(Plan::new("b").incarnation(50).seed(&a)).await;
    until("they meet", || a.names() == ["b"]).await;
    drop(first);
    let b = Node::start(Plan::new("b").incarnation(7)).await;
    assert_eq!(b.incarnation(), 7);
    // It meets the tier through a replica that joins both.
    let _c = Node::start(Plan::new("c").seed(&a).also_seed(&b)).await;
    until("it is accepted", || a.lives().contains(&("b".to_owned(), 51))).await;
    assert!(b.counted(RESTARTS, "gossip") >= 1.0);
}

#[tokio::test]
async fn a_lane_whose_chitchat_panics_restarts_as_the_next_incarnation_and_publishes_everything_again() {
    let keys = Keys::new("panics", &[1]);
    let a = Node::start(Plan::new("a").keys(&keys)).await;
    let mut b = Node::start(Plan::new("b").keys(&keys).seed(&a)).await;
    until("they meet", || a.names() == ["b"] && b.names() == ["a"]).await;
    a.publisher.publish([share(7, 3)]);
    assert_eq!(b.next_fact().await.facts[0].record, share(7, 3).0);
    let mut emptied = a.gossip.members();
    emptied.borrow_and_update();
    a.gossip.breaks();
    emptied.wait_for(Vec::is_empty).await.unwrap();
    until("a is back", || b.lives() == [("a".to_owned(), 2)] && a.names() == ["b"]).await;
    assert_eq!((a.incarnation(), a.counted(RESTARTS, "gossip")), (2, 1.0));
    let batch = b.next_fact().await;
    assert_eq!((batch.incarnation.0, &batch.facts[0].record), (2, &share(7, 3).0));
    assert!(!a.gossip.health().borrow().is_failing());
}

#[tokio::test]
async fn a_lane_that_fails_repeatedly_reports_it_until_it_holds() {
    let a = Node::start(Plan::new("a")).await;
    let b = Node::start(Plan::new("b").seed(&a)).await;
    until("they meet", || b.names() == ["a"]).await;
    for failure in 1..=3 {
        until("it runs", || a.names() == ["b"]).await;
        a.gossip.breaks();
        until("it failed", || a.gossip.health().borrow().failures >= failure).await;
    }
    assert!(a.gossip.health().borrow().is_failing());
    until("it holds", || !a.gossip.health().borrow().is_failing()).await;
    assert_eq!(a.names(), ["b"]);
}

/// A tier that is upgraded from the first release, whose datagrams prove neither sender nor freshness.
#[tokio::test]
async fn datagrams_of_the_first_release_are_accepted_only_where_configured() {
    use super::super::envelope::Envelope;
    use super::IGNORED;

    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let envelope = Envelope::new("tier", None);
    let text = |text: &str| [&(text.len() as u16).to_le_bytes(), text.as_bytes()].concat();
    let syn = [&[0][..], &45_139_u16.to_le_bytes(), &[0, 0, 0, 0], &text("tier")].concat();
    let mut answer = [0; 1 << 16];
    for accepts in [false, true] {
        let plan = if accepts { Plan::new("a").accepts_version_one() } else { Plan::new("a") };
        let a = Node::start(plan).await;
        socket.send_to(&envelope.wrap_version_one([0; 12], &syn).unwrap(), a.address()).unwrap();
        until("it is judged", || accepts || a.counted(IGNORED, "reason=\"old-envelope\"") > 0.0).await;
        let mut answers = Vec::new();
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            answers
                .extend(socket.recv(&mut answer).ok().and_then(|length| envelope.open_version_one(&answer[..length])));
        }
        assert_eq!(!answers.is_empty(), accepts);
    }
}
