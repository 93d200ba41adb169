//! Streams of two pools to one peer.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;

use super::*;
use crate::environment::{Connection, Datagrams, Network};

/// The machine's sockets, and how many connections were made.
#[derive(Debug, Default)]
struct CountingNetwork(AtomicUsize);

#[async_trait]
impl Network for CountingNetwork {
    async fn connect(&self, to: SocketAddr) -> std::io::Result<Connection> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Sockets.connect(to).await
    }

    async fn bind(&self, at: SocketAddr) -> std::io::Result<Box<dyn Datagrams>> {
        Sockets.bind(at).await
    }
}

#[tokio::test]
async fn two_pools_share_a_connection_and_a_stream_that_ended_dials_anew() {
    let pools = ["gemma", "llama"].map(|name| PoolId::new(name).unwrap());
    let publishers = pools
        .each_ref()
        .map(|pool| Publisher::of_pool(pool.clone(), ReplicaId("b".into()), Incarnation(1), Clock::start()));
    let server = TestServer::starts_pools(publishers.to_vec(), PeerTls::Plain, SocketAddr::from(([127, 0, 0, 1], 0)));
    let server = server.await;
    let (network, connections) = (Arc::new(CountingNetwork::default()), Connections::new(2));
    let mut followers = Vec::new();
    for pool in &pools {
        let card = member(1, server.address).card.of_pools(pools.iter());
        let members = vec![Member { card, ..member(1, server.address) }];
        let way = (network.clone() as Arc<dyn Network>, connections.clone());
        followers.push(TestFollower::follows_pool(pool, members, way, PeerTls::Plain).await);
    }
    let received = |requests: u32| {
        let published =
            |n: usize| InFlightReport { requests: requests + n as u32, ..InFlightReport::none(EndpointKey(1)) };
        followers.iter().enumerate().all(|(n, follower)| {
            let facts = follower.batches().into_iter().flat_map(|batch| batch.facts);
            facts.last().is_some_and(|fact| fact.record == Record::InFlight(published(n)))
        })
    };
    for (round, connected) in [(10, 1), (20, 2)] {
        publishers.iter().enumerate().for_each(|(n, publisher)| publish_in_flight(publisher, 1, round + n as u32));
        eventually(|| received(round)).await;
        assert_eq!(network.0.load(Ordering::Relaxed), connected);
        followers[0].resync.send_modify(|starts| *starts += 1);
        eventually(|| network.0.load(Ordering::Relaxed) == connected + 1).await;
    }
    for (follower, pool) in followers.iter().zip(&pools) {
        assert!(follower.batches().iter().all(|batch| batch.pool == *pool));
        assert_eq!(ignored(&follower.telemetry, "other-pool"), 0.0);
    }
}
