//! The nodes of the network and their addresses.
//!
//! Must not know what nodes do. Replicas are numbered first, then engines, the gateway and discovery.

use std::net::{IpAddr, Ipv4Addr};

use crate::plan::{ClusterSpec, Place};

/// The numbering of nodes.
#[derive(Clone, Copy, Debug)]
pub(in crate::cluster) struct Places {
    replicas: usize,
    engines: usize,
}

// === impl Places ===

impl Places {
    /// The numbering for `cluster`.
    pub(in crate::cluster) fn new(cluster: &ClusterSpec) -> Self {
        Self { replicas: cluster.replicas, engines: cluster.engines }
    }

    /// The number of nodes.
    pub(in crate::cluster) fn count(&self) -> usize {
        self.replicas + self.engines + 2
    }

    /// The node of a replica.
    pub(in crate::cluster) fn replica(&self, replica: usize) -> usize {
        replica
    }

    /// The node of an engine.
    pub(in crate::cluster) fn engine(&self, engine: usize) -> usize {
        self.replicas + engine
    }

    /// The node of the gateway.
    pub(in crate::cluster) fn gateway(&self) -> usize {
        self.replicas + self.engines
    }

    /// The node of discovery.
    pub(in crate::cluster) fn discovery(&self) -> usize {
        self.gateway() + 1
    }

    /// The zone of a node; the gateway and discovery are in none.
    pub(in crate::cluster) fn zone(&self, node: usize, cluster: &ClusterSpec) -> Option<usize> {
        match node.checked_sub(self.replicas) {
            None => Some(cluster.zone_of_replica(node)),
            Some(engine) if engine < self.engines => Some(cluster.zone_of_engine(engine)),
            Some(_) => None,
        }
    }

    /// The nodes that a plan's place stands for.
    pub(in crate::cluster) fn of(&self, place: Place, cluster: &ClusterSpec) -> Vec<usize> {
        let replicas = place.replicas(cluster).into_iter().map(|replica| self.replica(replica));
        let engines = place.engines(cluster).into_iter().map(|engine| self.engine(engine));
        let other = match place {
            Place::Gateway => Some(self.gateway()),
            Place::Discovery => Some(self.discovery()),
            Place::Replica(_) | Place::Engine(_) | Place::Zone(_) | Place::Replicas => None,
            Place::Engines | Place::Prefillers | Place::Decoders => None,
        };
        replicas.chain(engines).chain(other).collect()
    }

    /// The first address of a node.
    pub(in crate::cluster) fn ip(&self, node: usize) -> IpAddr {
        self.later_ip(node, 0)
    }

    /// The address of a node after it has moved `moves` times.
    pub(in crate::cluster) fn later_ip(&self, node: usize, moves: u16) -> IpAddr {
        let ([high, low], node) = (moves.to_be_bytes(), u8::try_from(node).unwrap_or(u8::MAX));
        IpAddr::V4(Ipv4Addr::new(10, high, low, node.saturating_add(1)))
    }

    /// The node that has this address, or had it before it moved.
    pub(in crate::cluster) fn node(&self, ip: IpAddr) -> Option<usize> {
        let IpAddr::V4(ip) = ip else { return None };
        let [network, _, _, host] = ip.octets();
        let node = usize::from(host).checked_sub(1)?;
        (network == 10 && node < self.count()).then_some(node)
    }
}
