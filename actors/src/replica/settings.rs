//! What a replica is started with, and why it can't be.
//!
//! Must not know how it starts.

use std::time::Duration;

use murmuration::config::ConfigErrors;
use murmuration::id::PoolId;
use murmuration::plugin::Catalog;

use super::serving_tls::Tls;
use crate::admin::DebugAccess;
use crate::environment::Listener;
use crate::ext_proc::{Limits, PromptSalt, ResponsePath, TrustedSpelling};
use crate::kubernetes::{KubernetesError, KubernetesSettings};
use crate::replication::{ReplicationError, ReplicationSettings};
use crate::tls::{ServerTls, TlsError};

/// The settings of a replica.
#[derive(Clone, Debug)]
pub struct ReplicaSettings {
    /// The EndpointPickerConfig, valid.
    pub config_text: String,
    /// The name under which errors in it are reported.
    pub config_name: String,
    /// The catalog of plugins.
    pub catalog: fn() -> Catalog,
    /// Interval between two scrapes of an engine, where the configuration does not set it.
    pub interval: Duration,
    /// Interval between two updates of the pool's gauges.
    pub gauges_interval: Duration,
    /// Bounds of the ext-proc service.
    pub limits: Limits,
    /// Who may set the headers that steer a decision.
    pub trusted: TrustedSpelling,
    /// Whether responses pass through.
    pub response_path: ResponsePath,
    /// Memory limit of the prefix index.
    pub index_bytes_max: usize,
    /// Decisions that a pool keeps for explanations, 1 to 1,024; with many pools each keeps fewer.
    pub recent_max: usize,
    /// How long a ticket may stay open while its end is unknown.
    pub lease: Duration,
    /// TLS of the ext-proc service: none, self-signed, or from a folder.
    pub tls: Tls,
    /// Who may read the debug pages.
    pub debug: DebugAccess,
    /// Whether callers of `/metrics` need a token that the API server of `kubernetes` allows to read it.
    pub metrics_auth: bool,
    /// How long a drain may take.
    pub drain_timeout: Duration,
    /// The key under which prompts are hashed.
    pub salt: PromptSalt,
    /// The header whose value is mixed into the key, for pools that several tenants share.
    pub tenant_header: Option<String>,
    /// What is watched of the Kubernetes API; `None` where nothing is.
    pub kubernetes: Option<KubernetesSettings>,
    /// Replication; `None` for a replica without peers.
    pub replication: Option<ReplicationSettings>,
}

/// The listeners of a replica.
#[derive(Debug)]
pub struct Listeners {
    /// ext-proc of the first pool.
    pub ext_proc: Listener,
    /// gRPC health.
    pub health: Listener,
    /// Metrics and debug pages.
    pub admin: Listener,
    /// Peer streams.
    pub peers: Option<Listener>,
}

/// Why a replica can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The configuration of a named pool is wrong.
    #[error("pool {0}: {1}")]
    Pool(PoolId, ConfigErrors),
    /// Two pools have one name.
    #[error("two pools are called {0}; give each a name of its own")]
    PoolTwice(PoolId),
    /// The metrics of a pool can't be registered, which is a mistake in their names.
    #[error("metrics can't be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The certificate can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The Kubernetes API can't be used.
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    /// The replica can't join its peers.
    #[error(transparent)]
    Replication(#[from] ReplicationError),
    /// A socket is closed.
    #[error("a listener has no address: {0}")]
    Listener(#[from] std::io::Error),
}

// === impl Tls ===

impl Tls {
    /// What the servers need.
    pub(crate) fn server(&self) -> Result<Option<ServerTls>, TlsError> {
        Ok(match self {
            Self::Plain => None,
            Self::SelfSigned => Some(ServerTls::self_signed()?),
            Self::Folder(folder) => Some(ServerTls::from_directory(folder)?),
        })
    }
}
