//! The replication settings of the replicas of one test: their names, and the ports of their gossip.
//!
//! Must not know replicas.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use murmuration::id::{Incarnation, ReplicaId};
use murmuration::replication::codec;
use murmuration_actors::gossip::Seal;
use murmuration_actors::peers::PeerTls;
use murmuration_actors::replication::ReplicationSettings;

/// A tier of replicas that are not started yet.
#[derive(Clone, Debug)]
pub struct Tier {
    name: String,
    gossip: Vec<SocketAddr>,
    streams: bool,
}

// === impl Tier ===

impl Tier {
    /// A tier of this many replicas.
    pub fn new(replicas: usize) -> Self {
        // All ports are bound at the same time, so they differ. The replicas bind them again a moment later.
        let sockets: Vec<UdpSocket> = (0..replicas).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let gossip: Vec<SocketAddr> = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
        Self { name: format!("test-{}", gossip[0].port()), gossip, streams: true }
    }

    /// The same tier without peer streams.
    pub fn without_streams(self) -> Self {
        Self { streams: false, ..self }
    }

    /// The settings of one replica.
    pub fn settings(&self, number: usize) -> ReplicationSettings {
        let gossip = self.gossip[number];
        let unspecified = SocketAddr::from(([127, 0, 0, 1], 0));
        ReplicationSettings {
            me: ReplicaId(format!("r{number}")),
            incarnation: Incarnation(1),
            zone: String::new(),
            tier: self.name.clone(),
            gossip,
            advertise: gossip,
            ext_proc: unspecified,
            seeds: self.gossip.iter().map(SocketAddr::to_string).collect(),
            interval: Duration::from_millis(50),
            seal: Seal::Insecure,
            accept_gossip_version_one: false,
            streams: self.streams.then_some((unspecified, PeerTls::Plain)),
            one_keeper: true,
            wire_version_max: codec::VERSION,
        }
    }
}
