//! What a sidecar is started with.
//!
//! Must not know flags.

use std::path::PathBuf;
use std::time::Duration;

use super::allowed::AllowedTargets;
use super::target::Target;
use crate::environment::Listener;
use crate::kubernetes::{ApiServer, KubernetesError, PoolName};
use crate::replica::Tls;
use crate::tls::TlsError;

/// How engines hand over a KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvConnector {
    /// vLLM's NixlConnector, NixlPushConnector, or a MultiConnector with one of them.
    NixlV2,
    /// A storage that all engines read, such as vLLM's ExampleConnector.
    SharedStorage,
    /// SGLang's bootstrap server.
    Sglang,
    /// vLLM's MooncakeConnector.
    Mooncake,
    /// vLLM's OffloadingConnector with a tier that peers read from.
    Offloading,
}

/// How encode engines hand over embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EcConnector {
    /// A storage that all engines read.
    Example,
    /// The encoder's answer says where they are.
    Nixl,
}

/// What becomes of a request whose prefill leg failed at every engine of its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnPrefillFailure {
    /// The client gets an error.
    Error,
    /// The decode engine computes the prompt, too.
    Decode,
}

/// Whether a leg is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegTls {
    /// No.
    Off,
    /// Yes, and the engine proves who it is.
    Verified,
    /// Yes, with any certificate.
    Unverified,
}

/// How long each thing may take.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// Until an engine accepts a connection, its TLS handshake included.
    pub connect: Duration,
    /// One attempt at a prefill leg.
    pub prefill: Duration,
    /// All encode legs of a request.
    pub encode: Duration,
    /// The longest silence of the decode engine: before its answer, and between two pieces of it.
    pub decode: Duration,
    /// From a prefill engine's answer until the decode engine is told where the blocks are.
    pub handoff: Duration,
    /// The longest pause between two pieces of an arriving request.
    pub arrival: Duration,
    /// Until a request has arrived in full.
    pub arrived: Duration,
    /// How long a client may leave an answer unread.
    pub unread: Duration,
}

/// Bounds of the sidecar.
#[derive(Clone, Copy, Debug)]
pub struct SidecarLimits {
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Bytes of the bodies of all requests.
    pub body_memory: usize,
    /// Bytes of the answer of a prefill or encode leg.
    pub answer_bytes: usize,
    /// Connections of clients; each has one request at most.
    pub connections: usize,
    /// Idle connections that are kept to each engine.
    pub idle_per_host: usize,
}

/// A pool whose endpoints are targets.
#[derive(Clone, Debug)]
pub struct PoolTargets {
    /// The API server that knows it.
    pub api: ApiServer,
    /// The pool.
    pub pool: PoolName,
    /// This sidecar's name, by which the pauses of watchers differ.
    pub me: String,
}

/// The settings of a sidecar.
#[derive(Clone, Debug)]
pub struct SidecarSettings {
    /// How KV caches are handed over.
    pub kv_connector: KvConnector,
    /// How embeddings are handed over; `None` if there are no encode engines.
    pub ec_connector: Option<EcConnector>,
    /// The decode engine of rank 0; rank r has the port after r others.
    pub decoder: Target,
    /// Data-parallel ranks of this pod, each with a port here and an engine.
    pub ranks: u16,
    /// The port at which clients find rank 0.
    pub port: u16,
    /// The pod's own address, if it is known.
    pub pod_ip: Option<String>,
    /// The targets that headers may name.
    pub allowed: AllowedTargets,
    /// A file with more of them, which is followed.
    pub allowed_file: Option<PathBuf>,
    /// An InferencePool whose endpoints are allowed as well.
    pub allowed_pool: Option<PoolTargets>,
    /// Whether the first prefill engine is drawn from the list.
    pub sampling: bool,
    /// Further attempts at a prefill leg, after each of the list had one.
    pub retries: u32,
    /// The pause before each of them.
    pub backoff: Duration,
    /// What happens when all failed.
    pub on_prefill_failure: OnPrefillFailure,
    /// Deadlines.
    pub deadlines: Deadlines,
    /// Bounds.
    pub limits: SidecarLimits,
    /// The port of Mooncake's bootstrap server beside each prefill engine.
    pub mooncake_port: u16,
    /// The port of SGLang's bootstrap server beside each prefill engine.
    pub sglang_port: u16,
    /// The port of rank 0's OffloadingConnector tier.
    pub p2p_port: u16,
    /// Whether prefixes are pulled from other engines also with `nixlv2`.
    pub p2p_pull: bool,
    /// TLS towards clients.
    pub tls: Tls,
    /// TLS towards prefill, decode and encode engines.
    pub legs: [LegTls; 3],
    /// Certificate authorities that engines' certificates are verified with, as PEM.
    pub authorities: Vec<u8>,
    /// How long a drain may take.
    pub drain_timeout: Duration,
}

/// The sockets of a sidecar.
#[derive(Debug)]
pub struct SidecarListeners {
    /// One for each rank.
    pub ranks: Vec<Listener>,
    /// Metrics; `None` if they are not served.
    pub metrics: Option<Listener>,
}

/// Why a sidecar can't start.
#[derive(Debug, thiserror::Error)]
pub enum SidecarError {
    /// A socket is gone.
    #[error("a socket failed")]
    Socket(#[from] std::io::Error),
    /// The serving certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The list of targets.
    #[error("{0}")]
    Targets(String),
    /// TLS towards engines.
    #[error("{0}")]
    Legs(String),
    /// The API server that knows the pool.
    #[error("--inference-pool: {0}")]
    Pool(#[from] KubernetesError),
}

// === impl KvConnector, EcConnector ===

impl KvConnector {
    /// llm-d's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NixlV2 => "nixlv2",
            Self::SharedStorage => "shared-storage",
            Self::Sglang => "sglang",
            Self::Mooncake => "mooncake",
            Self::Offloading => "offloading",
        }
    }
}

impl EcConnector {
    /// llm-d's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Example => "ec-example",
            Self::Nixl => "ec-nixl",
        }
    }
}
