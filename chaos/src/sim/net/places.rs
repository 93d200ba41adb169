//! Who lives where.
//!
//! Must not know what they do. Replicas come first, then engines, then the gateway, then discovery.

use std::net::{IpAddr, Ipv4Addr};

use crate::plan::{Place, Town};

/// The town's map.
#[derive(Clone, Copy, Debug)]
pub(in crate::sim) struct Places {
    replicas: usize,
    engines: usize,
}

// === impl Places ===

impl Places {
    /// The map of `town`.
    pub(in crate::sim) fn new(town: &Town) -> Self {
        Self { replicas: town.replicas, engines: town.engines }
    }

    /// How many there are.
    pub(in crate::sim) fn count(&self) -> usize {
        self.replicas + self.engines + 2
    }

    /// A replica.
    pub(in crate::sim) fn replica(&self, replica: usize) -> usize {
        replica
    }

    /// An engine.
    pub(in crate::sim) fn engine(&self, engine: usize) -> usize {
        self.replicas + engine
    }

    /// The gateway.
    pub(in crate::sim) fn gateway(&self) -> usize {
        self.replicas + self.engines
    }

    /// Discovery.
    pub(in crate::sim) fn discovery(&self) -> usize {
        self.gateway() + 1
    }

    /// All that a plan's place stands for.
    pub(in crate::sim) fn of(&self, place: Place, town: &Town) -> Vec<usize> {
        let replicas = place.replicas(town).into_iter().map(|replica| self.replica(replica));
        let engines = place.engines(town).into_iter().map(|engine| self.engine(engine));
        let other = match place {
            Place::Gateway => Some(self.gateway()),
            Place::Discovery => Some(self.discovery()),
            Place::Replica(_) | Place::Engine(_) | Place::Zone(_) | Place::Replicas | Place::Engines => None,
        };
        replicas.chain(engines).chain(other).collect()
    }

    /// The address of one.
    pub(in crate::sim) fn ip(&self, node: usize) -> IpAddr {
        self.later_ip(node, 0)
    }

    /// The address that one has after it moved so many times.
    pub(in crate::sim) fn later_ip(&self, node: usize, moves: u16) -> IpAddr {
        let ([high, low], node) = (moves.to_be_bytes(), u8::try_from(node).unwrap_or(u8::MAX));
        IpAddr::V4(Ipv4Addr::new(10, high, low, node.saturating_add(1)))
    }

    /// Who has this address, or had it before it moved.
    pub(in crate::sim) fn node(&self, ip: IpAddr) -> Option<usize> {
        let IpAddr::V4(ip) = ip else { return None };
        let [network, _, _, host] = ip.octets();
        let node = usize::from(host).checked_sub(1)?;
        (network == 10 && node < self.count()).then_some(node)
    }
}
