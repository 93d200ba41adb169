//! What a replica watches.
//!
//! Must not know flags.

use murmuration::dialect::kubernetes::pool_ref::PoolRef;

use super::client::ApiServer;

/// What a replica watches, and where.
#[derive(Clone, Debug)]
pub struct KubernetesSettings {
    /// The API server.
    pub api: ApiServer,
    /// Where the first pool's endpoints come from; `None` where its configuration says it.
    pub source: Option<Source>,
    /// The pods of the tier; `None` where peers are given by name.
    pub peers: Option<PeerPods>,
}

/// Where the endpoints of a pool come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An InferencePool.
    Pool {
        /// Its namespace, which is that of its pods and objectives too.
        namespace: String,
        /// Its group and name.
        pool: PoolRef,
    },
    /// All pods with these labels.
    Selector {
        /// Their namespace.
        namespace: String,
        /// A label selector.
        selector: String,
        /// The ports that each serves on.
        ports: Vec<u16>,
    },
}

/// An InferencePool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolName {
    /// Its namespace, which is that of its pods too.
    pub namespace: String,
    /// Its group and name.
    pub pool: PoolRef,
}

/// The pods of the tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerPods {
    /// Their namespace.
    pub namespace: String,
    /// A label selector.
    pub selector: String,
    /// The UDP port on which each takes gossip.
    pub port: u16,
    /// The name of this replica's own pod.
    pub me: String,
}

// === impl Source ===

impl Source {
    /// The namespace of the pods.
    pub(super) fn namespace(&self) -> &str {
        match self {
            Self::Pool { namespace, .. } | Self::Selector { namespace, .. } => namespace,
        }
    }
}
