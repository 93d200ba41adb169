//! Flags of `sidecar`. Those of llm-d's `pd-sidecar` keep their names and defaults.
//!
//! Must not know what a flag does.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use murmuration::config::duration::read as duration;

use super::values::{LogFormat, bytes};

// Headings of `sidecar --help`, in its order.
const LISTENING: &str = "Listeners";
const ENGINES: &str = "Engines";
const LEGS: &str = "Legs";
const SECURITY: &str = "Transport security and targets";
const LIMITS: &str = "Limits";
const CONFIGURATION: &str = "Configuration";
const OBSERVABILITY: &str = "Logs and traces";

/// How engines hand over a KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KvConnectorArg {
    /// vLLM's NixlConnector: the prefill engine's answer says where the blocks are.
    #[value(name = "nixlv2")]
    NixlV2,
    /// A storage that all engines read.
    SharedStorage,
    /// SGLang: both legs at once.
    Sglang,
    /// vLLM's MooncakeConnector: both legs at once.
    Mooncake,
    /// vLLM's OffloadingConnector with a tier that peers read from.
    Offloading,
}

/// How encode engines hand over embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EcConnectorArg {
    /// A storage that all engines read.
    EcExample,
    /// The encode engine's answer says where the embeddings are.
    EcNixl,
}

/// A leg of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StageArg {
    /// To prefill engines.
    Prefiller,
    /// To the decode engine.
    Decoder,
    /// To encode engines.
    Encoder,
}

/// What becomes of a request whose prefill leg failed at every engine of its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnPrefillFailureArg {
    /// The client gets the error, as with llm-d.
    Error,
    /// The decode engine computes the prompt. Not with sglang, whose decode engines compute none.
    Decode,
}

/// Flags of `sidecar`.
#[derive(Clone, Debug, Args)]
#[command(args_override_self = true)]
pub struct SidecarArgs {
    /// The IP address that all servers bind to.
    #[arg(help_heading = LISTENING, long, default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED), value_name = "IP")]
    pub bind: IpAddr,
    /// Port of rank 0; the next ranks have the next ports.
    #[arg(help_heading = LISTENING, long, default_value_t = 8000, value_name = "PORT")]
    pub port: u16,
    /// Port of metrics; 0 serves none.
    #[arg(help_heading = LISTENING, long, default_value_t = 0, value_name = "PORT")]
    pub metrics_port: u16,

    /// Port of the decode engine on this machine; of rank 0, if there are several.
    #[arg(help_heading = ENGINES, long, alias = "vllm-port", default_value_t = 8200, value_name = "PORT")]
    pub model_server_port: u16,
    /// Data-parallel ranks of the decode engine, each with a port of its own.
    #[arg(help_heading = ENGINES, long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256), value_name = "N")]
    pub data_parallel_size: u16,
    /// How prefill and decode engines hand over a KV cache.
    #[arg(help_heading = ENGINES, long, value_enum, default_value_t = KvConnectorArg::NixlV2, value_name = "NAME")]
    pub kv_connector: KvConnectorArg,
    /// How encode engines hand over embeddings. Without it, no request is encoded elsewhere.
    #[arg(help_heading = ENGINES, long, value_enum, value_name = "NAME")]
    pub ec_connector: Option<EcConnectorArg>,
    /// Port of the bootstrap server beside each prefill engine, with mooncake.
    #[arg(help_heading = ENGINES, long, env = "MOONCAKE_BOOTSTRAP_PORT", default_value_t = 8998, value_name = "PORT")]
    pub mooncake_bootstrap_port: u16,
    /// Port of the bootstrap server beside each prefill engine, with sglang.
    #[arg(help_heading = ENGINES, long, env = "SGLANG_BOOTSTRAP_PORT", default_value_t = 8998, value_name = "PORT")]
    pub sglang_bootstrap_port: u16,
    /// Port of the OffloadingConnector's tier of rank 0; rank r has the port after r others.
    #[arg(help_heading = ENGINES, long, env = "P2P_CONNECTOR_PORT", default_value_t = 7777, value_name = "PORT")]
    pub p2p_connector_port: u16,
    /// Engines with nixlv2 also have an OffloadingConnector, from which prefixes are pulled.
    #[arg(help_heading = ENGINES, long, default_value_t = false, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub enable_p2p_pull: bool,
    /// This pod's address, by which a picker names its ranks.
    #[arg(help_heading = ENGINES, long, env = "POD_IP", value_name = "IP")]
    pub pod_ip: Option<String>,

    /// Try a prefill engine drawn from the list first, instead of the first one.
    #[arg(help_heading = LEGS, long, env = "ENABLE_PREFILLER_SAMPLING", default_value_t = false, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub enable_prefiller_sampling: bool,
    /// Further attempts at a prefill leg after each engine of the list had one, at engines whose failure may pass.
    #[arg(help_heading = LEGS, long, default_value_t = 0, value_name = "N")]
    pub prefill_max_retries: u32,
    /// Pause before each of them.
    #[arg(help_heading = LEGS, long, default_value = "200ms", value_parser = duration, value_name = "DURATION")]
    pub prefill_retry_backoff: Duration,
    /// What becomes of a request whose prefill leg failed at every engine of its list.
    #[arg(help_heading = LEGS, long, value_enum, default_value_t = OnPrefillFailureArg::Error, value_name = "WHAT")]
    pub on_prefill_failure: OnPrefillFailureArg,
    /// Longest time until an engine accepts a connection.
    #[arg(help_heading = LEGS, long, default_value = "2s", value_parser = duration, value_name = "DURATION")]
    pub connect_timeout: Duration,
    /// Longest time of one attempt at a prefill leg, the engine's queue included.
    #[arg(help_heading = LEGS, long, default_value = "120s", value_parser = duration, value_name = "DURATION")]
    pub prefill_timeout: Duration,
    /// Longest time of all encode legs of a request.
    #[arg(help_heading = LEGS, long, default_value = "60s", value_parser = duration, value_name = "DURATION")]
    pub encode_timeout: Duration,
    /// Longest silence of the decode engine: before its answer, and between two pieces of it.
    #[arg(help_heading = LEGS, long, default_value = "1h", value_parser = duration, value_name = "DURATION")]
    pub decode_timeout: Duration,
    /// Longest time from a prefill engine's answer until the decode engine is asked. Later, the decode engine computes the
    /// prompt itself: a prefill engine frees its blocks after a lease (30s with vLLM), and a decode engine that reads them
    /// then answers with wrong text. At most half of the lease.
    #[arg(help_heading = LEGS, long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub handoff_timeout: Duration,
    /// Tokens of one piece of a chunked decode. Only 0, which is none, is possible yet.
    #[arg(help_heading = LEGS, long, default_value_t = 0, value_name = "N")]
    pub decode_chunk_size: u32,

    /// Serve over TLS.
    #[arg(help_heading = SECURITY, long, alias = "secure-proxy", default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub secure_serving: bool,
    /// A directory with tls.crt and tls.key. Without it, a self-signed certificate is generated.
    #[arg(help_heading = SECURITY, long, value_name = "DIR")]
    pub cert_path: Option<PathBuf>,
    /// Legs that are encrypted; repeatable, or a list with commas.
    #[arg(help_heading = SECURITY, long, value_enum, value_delimiter = ',', value_name = "STAGE")]
    pub enable_tls: Vec<StageArg>,
    /// Encrypted legs whose engine may have any certificate; repeatable, or a list with commas.
    #[arg(help_heading = SECURITY, long, value_enum, value_delimiter = ',', value_name = "STAGE")]
    pub tls_insecure_skip_verify: Vec<StageArg>,
    /// A PEM file with the authorities that engines' certificates are verified with. Without it, the system's.
    #[arg(help_heading = SECURITY, long, env = "SSL_CERT_FILE", value_name = "FILE")]
    pub engine_ca_file: Option<PathBuf>,
    /// Allow only those engines in headers that --allowed-targets, --allowed-targets-file or --inference-pool names.
    /// llm-d's default is false: a client that reaches the sidecar then chooses which hosts it calls.
    #[arg(help_heading = SECURITY, long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub enable_ssrf_protection: bool,
    /// Prefill engines, encode engines and sources of prefixes that headers may name, with their ports; repeatable, or a
    /// list with commas: 10.0.0.7:8000, 10.0.0.0/16:8000-8007, [fd00::/64]:8000, prefill-0.ns.svc:8000, *.pool.svc:8000.
    #[arg(help_heading = SECURITY, long, value_delimiter = ',', value_name = "HOST:PORT")]
    pub allowed_targets: Vec<String>,
    /// A file with more of them, one in a line. It is read again when it changes.
    #[arg(help_heading = SECURITY, long, value_name = "FILE")]
    pub allowed_targets_file: Option<PathBuf>,
    /// An InferencePool whose endpoints headers may name as well: its pods that are ready, at its target ports. Without a
    /// namespace, that of this pod.
    #[arg(help_heading = SECURITY, long, env = "INFERENCE_POOL", value_name = "[NAMESPACE/]NAME")]
    pub inference_pool: Option<String>,
    /// The API group of that pool; its version is v1.
    #[arg(help_heading = SECURITY, long, default_value = "inference.networking.k8s.io", value_name = "GROUP")]
    pub pool_group: String,
    /// A kubeconfig file, or several with colons between them, for --inference-pool. Without it, the API server of the
    /// cluster that this pod runs in.
    #[arg(help_heading = SECURITY, long, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Idle connections that are kept to each engine.
    #[arg(help_heading = LIMITS, long, default_value_t = 1024, value_name = "N")]
    pub max_idle_conns_per_host: usize,
    /// Largest body of a request that can be split; larger ones are refused with 413.
    #[arg(help_heading = LIMITS, long, default_value = "64MiB", value_parser = bytes, value_name = "SIZE")]
    pub max_body_size: usize,
    /// Most bytes that the bodies of such requests take at once, their legs not counted; further ones are refused with 503.
    #[arg(help_heading = LIMITS, long, default_value = "256MiB", value_parser = bytes, value_name = "SIZE")]
    pub max_body_memory: usize,
    /// Most connections of clients to each rank; each has one request at a time.
    #[arg(help_heading = LIMITS, long, default_value_t = 4096, value_name = "N")]
    pub max_connections: usize,
    /// Longest pause between two pieces of an arriving request.
    #[arg(help_heading = LIMITS, long, default_value = "60s", value_parser = duration, value_name = "DURATION")]
    pub request_idle_timeout: Duration,
    /// Longest time until a request has arrived in full; slower ones are refused with 408.
    #[arg(help_heading = LIMITS, long, default_value = "300s", value_parser = duration, value_name = "DURATION")]
    pub request_arrival_timeout: Duration,
    /// How long a client may leave an answer unread; then its connection is closed, and the engine's with it. Each KiB that
    /// it reads gives it a second back, up to this time.
    #[arg(help_heading = LIMITS, long, default_value = "60s", value_parser = duration, value_name = "DURATION")]
    pub answer_unread_timeout: Duration,
    /// Longest time from SIGTERM to exit.
    #[arg(help_heading = LIMITS, long, default_value = "60s", value_parser = duration, value_name = "DURATION")]
    pub drain_timeout: Duration,

    /// These flags as YAML: their names, without dashes, are its keys. Flags of the command line win; their lists replace these.
    #[arg(help_heading = CONFIGURATION, long, value_name = "YAML", conflicts_with = "configuration_file")]
    pub configuration: Option<String>,
    /// The same, from a file.
    #[arg(help_heading = CONFIGURATION, long, value_name = "FILE")]
    pub configuration_file: Option<PathBuf>,

    /// Accepted for llm-d's manifests. The sidecar makes no spans yet; headers of a trace reach every leg.
    #[arg(help_heading = OBSERVABILITY, long, default_value_t = false, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub tracing: bool,
    /// Format of log lines.
    #[arg(help_heading = OBSERVABILITY, long, value_enum, default_value_t = LogFormat::Json, value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// What is logged: 2 (events of the sidecar), 4 (each leg), or a filter such as info,murmuration_actors=debug.
    #[arg(help_heading = OBSERVABILITY, short, long = "verbosity", default_value = "2", value_name = "LEVEL")]
    pub verbosity: String,

    /// Stop when standard input ends, so that a parent process leaves no orphans.
    #[arg(long, hide = true)]
    pub exit_with_stdin: bool,
}
