//! One replica of a zone follows an origin in another zone, and the others of its zone follow it.

use murmuration::replication::relays;

use super::*;

/// An origin in zone x, and two replicas in zone y that follow it: one relays for the other.
struct Zones {
    origin: TestServer,
    relay: Member,
    relay_server: TestServer,
    relay_follower: TestFollower,
    follower: TestFollower,
}

fn in_zone(zone: &str, name: &str, address: SocketAddr) -> Member {
    let of = member(1, address);
    let card = ReplicaCard { zone: zone.to_owned(), relays: true, ..of.card };
    Member { replica: ReplicaId(name.to_owned()), card, ..of }
}

/// The one of two names that relays for the origin `b`, and the other one.
fn roles() -> (&'static str, &'static str) {
    let [one, other] = ["a", "late"].map(|name| in_zone("y", name, SocketAddr::from((Ipv4Addr::LOCALHOST, 1))));
    let origin = in_zone("x", "b", SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    let route = relays::route((&one.replica, &one.card), &origin, &[other], &PoolId::default());
    if route.via.is_none() { ("a", "late") } else { ("late", "a") }
}

impl Zones {
    /// All follow, and the second of the zone follows the first.
    async fn start(origin: TestServer) -> Self {
        let (relays, follows) = roles();
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let copies = Copies::default();
        let publisher = Publisher::new(ReplicaId(relays.to_owned()), Incarnation(1), Clock::start());
        let relay_server = TestServer::starts_with(vec![publisher], copies.clone(), PeerTls::Plain, localhost()).await;
        let relay = in_zone("y", relays, relay_server.address);
        let far = in_zone("x", "b", origin.address);
        let other = in_zone("y", follows, nowhere);
        let relay_follower = TestFollower::relays(&relay, vec![far.clone(), other.clone()], copies.clone()).await;
        eventually(|| copies.of(&PoolId::default(), &ReplicaId("b".into())).is_some()).await;
        let follower = TestFollower::relays(&other, vec![far, relay.clone()], Copies::default()).await;
        let zones = Self { origin, relay, relay_server, relay_follower, follower };
        eventually(|| zones.is_relayed()).await;
        zones
    }

    fn is_relayed(&self) -> bool {
        self.follower.stream().is_some_and(|state| state.connected && state.via.as_ref() == Some(&self.relay.replica))
    }

    fn is_direct(&self) -> bool {
        self.follower.stream().is_some_and(|state| state.connected && state.via.is_none())
    }
}

fn localhost() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

#[tokio::test]
async fn facts_reach_a_zone_once_and_all_of_it() {
    let origin = TestServer::starts(publisher(1)).await;
    publish_placements(&origin.publisher, 50);
    let zones = Zones::start(origin).await;
    let follows = |name: &str| zones.origin.publisher.subscribers().has(&ReplicaId(name.to_owned()));
    assert_eq!([roles().0, roles().1].map(follows), [true, false], "the origin sends to the relay alone");
    publish_placements(&zones.origin.publisher, 50);
    for of in [&zones.relay_follower, &zones.follower] {
        of.received_up_to(100).await;
        assert_eq!(of.numbers(), (1..=100).collect::<Vec<_>>());
    }
    let batches = zones.follower.batches();
    assert!(batches.iter().all(|batch| batch.origin.0 == "b"));
    assert!(batches.windows(2).all(|pair| pair[0].upto == pair[1].after), "each continues the one before");
}

#[tokio::test]
async fn without_its_relay_a_follower_goes_to_the_origin_at_once_and_misses_nothing() {
    let zones = Zones::start(TestServer::starts(publisher(1)).await).await;
    publish_placements(&zones.origin.publisher, 10);
    zones.follower.received_up_to(10).await;
    let Zones { origin, relay, relay_server, relay_follower, follower } = zones;
    relay_server.ends().await;
    publish_placements(&origin.publisher, 10);
    follower.received_up_to(20).await;
    assert_eq!(follower.numbers(), (1..=20).collect::<Vec<_>>());
    eventually(|| follower.stream().is_some_and(|state| state.connected && state.via.is_none())).await;
    drop((relay, relay_follower));
}

#[tokio::test]
async fn what_is_not_followed_any_more_is_not_relayed_any_more() {
    let zones = Zones::start(TestServer::starts(publisher(1)).await).await;
    zones.relay_follower.members.send_replace(Members::new());
    eventually(|| zones.is_direct()).await;
    publish_placements(&zones.origin.publisher, 10);
    zones.follower.received_up_to(10).await;
    assert!(zones.relay_follower.batches().is_empty());
    let origin = in_zone("x", "b", zones.origin.address);
    let other = in_zone("y", roles().1, zones.origin.address);
    zones.relay_follower.members.send_replace(vec![origin, other]);
    eventually(|| zones.is_relayed()).await;
}

#[tokio::test]
async fn a_new_incarnation_of_the_origin_is_relayed_from_its_beginning() {
    let old = TestServer::starts(publisher(1)).await;
    publish_placements(&old.publisher, 50);
    let zones = Zones::start(old).await;
    zones.follower.received_up_to(50).await;
    let new = TestServer::starts(publisher(2)).await;
    publish_placements(&new.publisher, 3);
    let begun = Member { incarnation: Incarnation(2), ..in_zone("x", "b", new.address) };
    let other = in_zone("y", roles().1, new.address);
    zones.relay_follower.members.send_replace(vec![begun.clone(), other]);
    zones.follower.members.send_replace(vec![begun, zones.relay.clone()]);
    eventually(|| zones.follower.batches().iter().any(|batch| batch.incarnation == Incarnation(2))).await;
    eventually(|| zones.is_relayed()).await;
    publish_placements(&new.publisher, 3);
    zones.follower.received_up_to(6).await;
    let batches = zones.follower.batches();
    let of_new: Vec<_> = batches.iter().filter(|batch| batch.incarnation == Incarnation(2)).collect();
    assert_eq!((of_new[0].after, of_new.last().map(|batch| batch.upto)), (0, Some(6)));
    assert!(!new.publisher.subscribers().has(&ReplicaId(roles().1.to_owned())));
}

#[tokio::test]
async fn a_relay_that_falls_behind_is_left_for_the_origin() {
    let zones = Zones::start(TestServer::starts(publisher(1)).await).await;
    publish_placements(&zones.origin.publisher, 10);
    zones.follower.received_up_to(10).await;
    // What the members say of the origin's head is not reached through this relay.
    let far = Member { head: 20, ..in_zone("x", "b", zones.origin.address) };
    zones.follower.members.send_replace(vec![far, zones.relay.clone()]);
    eventually(|| zones.is_direct()).await;
}
