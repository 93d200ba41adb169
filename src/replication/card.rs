//! How a replica describes itself to its peers.
//!
//! Must not know how the card travels.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::id::{Incarnation, ReplicaId};
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
}

/// A live replica, as its peers see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// The replica.
    pub replica: ReplicaId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Its card.
    pub card: ReplicaCard,
    /// The number of the last fact that it published.
    pub head: u64,
}

// === impl ReplicaCard ===

impl ReplicaCard {
    /// The card of a replica of this release.
    pub fn new(ext_proc: SocketAddr, peer: Option<SocketAddr>, zone: String) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { peer, ext_proc, zone, version, wire: (codec::VERSION_MIN, codec::VERSION), draining: false }
    }

    /// The card of a replica that knows the wire format only up to `version`.
    #[must_use]
    pub fn upto(self, version: u8) -> Self {
        Self { wire: (codec::VERSION_MIN, version), ..self }
    }

    /// Whether it reads what this release writes, and writes what this release reads. Kinds that are too new are
    /// skipped, so one common version is enough.
    pub fn is_understood(&self) -> bool {
        codec::in_common(self.wire.0.into(), self.wire.1.into(), codec::VERSION)
    }
}
