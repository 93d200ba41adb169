//! Who a replica says it is.
//!
//! Must not know how the card travels.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::id::{Incarnation, ReplicaId};
use crate::replication::codec;

/// The card that a replica shows to all. Fields that a later release adds are ignored by this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaCard {
    /// Where it serves peer streams; `None` where it serves none.
    pub peer: Option<SocketAddr>,
    /// Where it serves ext-proc.
    pub ext_proc: SocketAddr,
    /// Its zone; empty where it is not told.
    #[serde(default)]
    pub zone: String,
    /// Its release.
    #[serde(default)]
    pub version: String,
    /// The lowest and highest version of the wire format that it reads.
    pub wire: (u8, u8),
    /// Whether it is leaving: it keeps no endpoints any more.
    #[serde(default)]
    pub draining: bool,
}

/// A replica that lives, as its peers see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Who.
    pub replica: ReplicaId,
    /// In which life.
    pub incarnation: Incarnation,
    /// What it says of itself.
    pub card: ReplicaCard,
    /// The number of the last fact that it said.
    pub head: u64,
}

// === impl ReplicaCard ===

impl ReplicaCard {
    /// The card of a replica of this release.
    pub fn new(ext_proc: SocketAddr, peer: Option<SocketAddr>, zone: String) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { peer, ext_proc, zone, version, wire: (codec::VERSION_MIN, codec::VERSION), draining: false }
    }

    /// The card of a replica that knows the wire format up to `version` only.
    #[must_use]
    pub fn upto(self, version: u8) -> Self {
        Self { wire: (codec::VERSION_MIN, version), ..self }
    }

    /// Whether it reads what this release writes, and writes what this release reads: kinds that are too new are skipped, so
    /// one common version is enough.
    pub fn is_understood(&self) -> bool {
        codec::in_common(self.wire.0.into(), self.wire.1.into(), codec::VERSION)
    }
}
