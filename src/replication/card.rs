//! How a replica describes itself to its peers.
//!
//! Must not know how the card travels.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::id::{Incarnation, PoolId, ReplicaId};
use crate::replication::codec;

/// A replica's description of itself for all peers. Fields that a later release adds are ignored by this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaCard {
    /// Its address for peer streams; `None` when it serves none.
    pub peer: Option<SocketAddr>,
    /// Its address for ext-proc.
    pub ext_proc: SocketAddr,
    /// Its zone; empty when it is not set.
    #[serde(default)]
    pub zone: String,
    /// Its release.
    #[serde(default)]
    pub version: String,
    /// The lowest and highest version of the wire format that it reads.
    pub wire: (u8, u8),
    /// Whether it is leaving: it no longer keeps endpoints.
    #[serde(default)]
    pub draining: bool,
    /// Whether others of its zone may follow replicas of other zones through it; no release before this one does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub relays: bool,
    /// The names of the pools that it serves; none for the default pool alone, as in releases that know no other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<String>,
}

/// Pools of one replica, at most: each takes memory of its own, and room in gossip.
pub const POOLS_MAX: usize = 128;
/// Bytes of their names together, at most: the card is one value of gossip, and must fit a datagram.
pub const POOL_NAMES_BYTES_MAX: usize = 8 << 10;

/// A live replica, as its peers see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// The replica.
    pub replica: ReplicaId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Its card.
    pub card: ReplicaCard,
    /// The number of the last fact that it published about the default pool.
    pub head: u64,
    /// The same for its other pools, by their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub heads: BTreeMap<String, u64>,
}

/// Whether two zones are known and differ.
pub fn are_apart(one: &str, other: &str) -> bool {
    !one.is_empty() && !other.is_empty() && one != other
}

// === impl ReplicaCard ===

impl ReplicaCard {
    /// The card of a replica of this release.
    pub fn new(ext_proc: SocketAddr, peer: Option<SocketAddr>, zone: String) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let wire = (codec::VERSION_MIN, codec::VERSION);
        Self { peer, ext_proc, zone, version, wire, draining: false, relays: false, pools: Vec::new() }
    }

    /// The card of a replica that knows the wire format only up to `version`.
    #[must_use]
    pub fn upto(self, version: u8) -> Self {
        Self { wire: (codec::VERSION_MIN, version), ..self }
    }

    /// The card of a replica that serves these pools.
    #[must_use]
    pub fn of_pools<'a>(self, pools: impl Iterator<Item = &'a PoolId>) -> Self {
        let mut names: Vec<String> = pools.map(ToString::to_string).collect();
        if names == [PoolId::DEFAULT] {
            names.clear();
        }
        Self { pools: names, ..self }
    }

    /// Whether it serves `pool`.
    pub fn serves(&self, pool: &PoolId) -> bool {
        if self.pools.is_empty() { pool.is_default() } else { self.pools.iter().any(|name| name == pool.as_str()) }
    }

    /// Whether it reads what this release writes, and writes what this release reads. Kinds that are too new are
    /// skipped, so one common version is enough.
    pub fn is_understood(&self) -> bool {
        codec::in_common(self.wire.0.into(), self.wire.1.into(), codec::VERSION)
    }
}

// === impl Member ===

impl Member {
    /// The member as `pool` sees it, with that pool's head; `None` where it does not serve it.
    pub fn of_pool(&self, pool: &PoolId) -> Option<Self> {
        let head = if pool.is_default() { Some(&self.head) } else { self.heads.get(pool.as_str()) };
        let head = head.copied().unwrap_or_default();
        self.card.serves(pool).then(|| Self { head, heads: BTreeMap::new(), ..self.clone() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_pool_sees_its_own_head() {
        let [a, b] = ["a", "b"].map(|name| PoolId::new(name).unwrap());
        let card = ReplicaCard::new(SocketAddr::from(([127, 0, 0, 1], 1)), None, String::new());
        let card = card.of_pools([&a, &PoolId::default()].into_iter());
        let heads = BTreeMap::from([("a".to_owned(), 7)]);
        let member = Member { replica: ReplicaId("r".into()), incarnation: Incarnation(1), card, head: 3, heads };
        let head_of = |pool| member.of_pool(pool).map(|member| (member.head, member.heads.len()));
        assert_eq!([head_of(&a), head_of(&PoolId::default()), head_of(&b)], [Some((7, 0)), Some((3, 0)), None]);
    }

    #[test]
    fn a_card_of_the_default_pool_is_the_one_of_earlier_releases() {
        let card = ReplicaCard::new(SocketAddr::from(([127, 0, 0, 1], 1)), None, String::new());
        let pools = ["a", "b"].map(|name| PoolId::new(name).unwrap());
        let of_default = card.clone().of_pools(std::iter::once(&PoolId::default()));
        assert_eq!(of_default, card);
        assert!(!serde_json::to_string(&of_default).unwrap().contains("pools"));
        assert!(of_default.serves(&PoolId::default()) && !of_default.serves(&pools[0]));
        let of_two = card.of_pools(pools.iter());
        let read: ReplicaCard = serde_json::from_str(&serde_json::to_string(&of_two).unwrap()).unwrap();
        assert!(pools.iter().all(|pool| read.serves(pool)) && !read.serves(&PoolId::default()));
    }
}
