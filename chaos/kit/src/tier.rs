//! The replication settings of the replicas of one test: their names, and the ports of their gossip.
//!
//! Must not know replicas.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use murmuration_actors::peers::PeerTls;
use murmuration_actors::replication::ReplicationSettings;

use crate::settings;

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
        let gossip = settings::gossip_addresses(replicas).unwrap();
        Self { name: format!("test-{}", gossip[0].port()), gossip, streams: true }
    }

    /// The same tier without peer streams.
    pub fn without_streams(self) -> Self {
        Self { streams: false, ..self }
    }

    /// The settings of one replica.
    pub fn settings(&self, number: usize) -> ReplicationSettings {
        let unspecified = SocketAddr::from(([127, 0, 0, 1], 0));
        let own = settings::replication(format!("r{number}"), &self.name, self.gossip[number], &self.gossip);
        let streams = self.streams.then_some((unspecified, PeerTls::Plain));
        ReplicationSettings { ext_proc: unspecified, streams, ..own }
    }
}
