//! Where replicas of one test meet: their names, and the ports of their gossip.
//!
//! Must not know replicas.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use murmuration::id::{Incarnation, ReplicaId};
use murmuration::replication::codec;
use murmuration_actors::gossip::Seal;
use murmuration_actors::peers::PeerTls;
use murmuration_actors::replication::ReplicationSettings;

/// A replication to be.
#[derive(Clone, Debug)]
pub struct Meeting {
    tier: String,
    gossip: Vec<SocketAddr>,
    streams: bool,
}

// === impl Meeting ===

impl Meeting {
    /// A meeting of so many.
    pub fn new(replicas: usize) -> Self {
        // All are bound at once, so that all differ; replicas bind them again a moment later.
        let sockets: Vec<UdpSocket> = (0..replicas).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let gossip: Vec<SocketAddr> = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
        Self { tier: format!("test-{}", gossip[0].port()), gossip, streams: true }
    }

    /// Without peer streams.
    pub fn without_streams(self) -> Self {
        Self { streams: false, ..self }
    }

    /// The part of one of them.
    pub fn part(&self, number: usize) -> ReplicationSettings {
        let gossip = self.gossip[number];
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        ReplicationSettings {
            me: ReplicaId(format!("r{number}")),
            incarnation: Incarnation(1),
            zone: String::new(),
            tier: self.tier.clone(),
            gossip,
            advertise: gossip,
            ext_proc: nowhere,
            seeds: self.gossip.iter().map(SocketAddr::to_string).collect(),
            interval: Duration::from_millis(50),
            seal: Seal::Insecure,
            accept_gossip_version_one: false,
            streams: self.streams.then_some((nowhere, PeerTls::Plain)),
            one_keeper: true,
            wire_version_max: codec::VERSION,
        }
    }
}
