//! The command line. Nothing else reads flags or the environment.
//!
//! Must not know what a flag does. Where llm-d has the same flag, its name and default are used.

mod kubernetes;
mod passed_over;
mod replication;
mod sidecar;
mod values;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use murmuration::config::duration::read as duration;
use murmuration::id::PoolId;

pub use kubernetes::{KubernetesArgs, TargetPorts};
pub use passed_over::PassedOverArgs;
pub use replication::{Keepers, ReplicationArgs};
pub use sidecar::{EcConnectorArg, KvConnectorArg, OnPrefillFailureArg, SidecarArgs, StageArg};
pub use values::LogFormat;
use values::{bytes, rate};

/// A leaderless Endpoint Picker for the Kubernetes Gateway API Inference Extension.
#[derive(Debug, Parser)]
#[command(name = "murmuration", version, max_term_width = 110)]
pub struct Command {
    /// The subcommand.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run one replica of the tier.
    Serve(Box<ServeArgs>),
    /// Run beside a decode engine: send each request's prefill and encode legs to the engines that a picker names.
    Sidecar(Box<SidecarArgs>),
    /// Validate a configuration: print it with every default written out, or list all of its errors.
    Check(CheckArgs),
    /// Show why a request was routed to its endpoint.
    Explain(ExplainArgs),
    /// Show the endpoints of the pool as one replica sees them.
    Fleet(AdminArgs),
    /// Show the other replicas as one replica sees them.
    Peers(AdminArgs),
}

/// Where the configuration comes from.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    /// An EndpointPickerConfig file.
    #[arg(long, help_heading = "Configuration", value_name = "FILE", conflicts_with = "config_text")]
    pub config_file: Option<PathBuf>,
    /// An EndpointPickerConfig as text.
    #[arg(long, help_heading = "Configuration", value_name = "YAML")]
    pub config_text: Option<String>,
}

/// Flags of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Flags of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The x-request-id of the request. Without it, the last decisions are listed.
    pub request_id: Option<String>,
    /// The admin address of the replica that made the decision.
    #[arg(long, default_value = "127.0.0.1:9090", value_name = "IP:PORT")]
    pub admin: SocketAddr,
    /// The pool, where the replica serves several.
    #[arg(long, value_name = "NAME")]
    pub pool: Option<String>,
    /// A file with the token for the debug pages; needed for a replica on another machine.
    #[arg(long, value_name = "FILE")]
    pub debug_token_file: Option<PathBuf>,
}

/// Flags of `fleet` and `peers`.
#[derive(Debug, Args)]
pub struct AdminArgs {
    /// The admin address of the replica.
    #[arg(long, default_value = "127.0.0.1:9090", value_name = "IP:PORT")]
    pub admin: SocketAddr,
    /// The pool, where the replica serves several.
    #[arg(long, value_name = "NAME")]
    pub pool: Option<String>,
    /// A file with the token for the debug pages; needed for a replica on another machine.
    #[arg(long, value_name = "FILE")]
    pub debug_token_file: Option<PathBuf>,
}

/// Whether a replica sees the responses to the requests that it routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ResponsePath {
    /// Stay on the stream: usage and latency are measured, and the end of a request is known at once.
    Stay,
    /// Leave once the request is routed: far cheaper, and a replica that stops can't cut a running response. The end of
    /// a request is inferred from the engine's load reports.
    Leave,
}

/// Who may read the debug pages without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DebugPages {
    /// Callers on this machine; in a pod, by kubectl exec or port-forward.
    Local,
    /// Everybody who can reach the metrics port.
    Anyone,
    /// Nobody, not even with the token.
    Nobody,
}

/// Which spelling of the headers that steer a decision is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TrustedHeaders {
    /// Both spellings.
    Any,
    /// Headers that begin with x-gateway-; the gateway must strip them from client requests.
    XGateway,
    /// Headers that begin with x-llm-d-; the gateway must strip them from client requests.
    XLlmD,
    /// Neither: all of these headers are removed and none is read.
    None,
}

// Headings of `serve --help`, in its order.
const LISTENING: &str = "Listeners";
const SECURITY: &str = "Transport security";
const POOL: &str = "Pool";
const REQUESTS: &str = "Requests and limits";
const OBSERVABILITY: &str = "Logs and traces";

/// A pool to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolArg {
    /// Its name.
    pub id: PoolId,
    /// The port of its ext-proc service.
    pub port: u16,
    /// Its EndpointPickerConfig.
    pub file: PathBuf,
}

/// Flags of `serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// The configuration; without it, llm-d's default applies.
    #[command(flatten)]
    pub config: ConfigArgs,

    /// The IP address that all servers bind to.
    #[arg(help_heading = LISTENING, long, default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED), value_name = "IP")]
    pub bind: IpAddr,
    /// Port of the ext-proc service.
    #[arg(help_heading = LISTENING, long, default_value_t = 9002, value_name = "PORT")]
    pub grpc_port: u16,
    /// Port of the gRPC health service.
    #[arg(help_heading = LISTENING, long, default_value_t = 9003, value_name = "PORT")]
    pub grpc_health_port: u16,
    /// Port of metrics and debug pages.
    #[arg(help_heading = LISTENING, long, default_value_t = 9090, value_name = "PORT")]
    pub metrics_port: u16,

    /// Serve ext-proc over TLS.
    #[arg(help_heading = SECURITY, long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub secure_serving: bool,
    /// A directory with tls.crt and tls.key. Without it, a self-signed certificate is generated.
    #[arg(help_heading = SECURITY, long, value_name = "DIR")]
    pub cert_path: Option<PathBuf>,
    /// Who may read the debug pages of the metrics port. They show models, request ids and where requests went.
    #[arg(help_heading = SECURITY, long, value_enum, default_value_t = DebugPages::Local, value_name = "WHO")]
    pub debug_pages: DebugPages,
    /// Whether /metrics needs a token (Authorization: Bearer) whose bearer may get the nonResourceURL /metrics, by
    /// TokenReview and SubjectAccessReview. Defaults to true where the Kubernetes API is watched, else to false.
    #[arg(help_heading = SECURITY, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set, overrides_with = "metrics_endpoint_auth", value_name = "BOOL")]
    pub metrics_endpoint_auth: Option<bool>,
    /// A file with a token. A request that carries it (Authorization: Bearer) may read the debug pages from another
    /// machine. The file is read for each request.
    #[arg(help_heading = SECURITY, long, value_name = "FILE")]
    pub debug_token_file: Option<PathBuf>,

    /// What is found in the Kubernetes API.
    #[command(flatten)]
    pub kubernetes: KubernetesArgs,

    /// The other replicas.
    #[command(flatten)]
    pub replication: ReplicationArgs,

    /// A pool to serve, repeatable: its name, the port of its ext-proc service, and its EndpointPickerConfig file. It
    /// replaces --config-file, --config-text and --grpc-port. A pool whose configuration names no file of endpoints is
    /// the InferencePool of this name. The other limits and intervals hold for each pool.
    #[arg(help_heading = POOL, long = "pool", value_parser = pool, value_name = "NAME=PORT:FILE", conflicts_with_all = ["config_file", "config_text", "grpc_port", "endpoint_selector"])]
    pub pools: Vec<PoolArg>,
    /// Interval between two scrapes of an engine; at least 50ms.
    #[arg(help_heading = POOL, long, default_value = "50ms", value_parser = duration, value_name = "DURATION")]
    pub refresh_metrics_interval: Duration,
    /// Interval between two refreshes of the pool's gauges.
    #[arg(help_heading = POOL, long, default_value = "5s", value_parser = duration, value_name = "DURATION")]
    pub refresh_prometheus_metrics_interval: Duration,

    /// Longest time from SIGTERM to exit. The replica stops being ready as soon as the signal arrives.
    #[arg(help_heading = REQUESTS, long, default_value = "30s", value_parser = duration, value_name = "DURATION")]
    pub drain_timeout: Duration,
    /// Whether responses pass through this replica.
    #[arg(help_heading = REQUESTS, long, value_enum, default_value_t = ResponsePath::Stay, value_name = "WAY")]
    pub response_path: ResponsePath,
    /// Largest request body; larger ones are refused with 413.
    #[arg(help_heading = REQUESTS, long, default_value = "64MiB", value_parser = bytes, value_name = "SIZE")]
    pub max_body_size: usize,
    /// Most streams open at once; further ones are refused with 503.
    #[arg(help_heading = REQUESTS, long, default_value_t = 10_000, value_name = "N")]
    pub max_streams: usize,
    /// Most bytes that the bodies of all requests take at once. Further requests wait for --decision-timeout, then they
    /// are refused with 503. Must not be less than --max-body-size.
    #[arg(help_heading = REQUESTS, long, default_value = "256MiB", value_parser = bytes, value_name = "SIZE")]
    pub max_body_memory: usize,
    /// Most requests that one connection may have arriving at once, half of --max-streams by default.
    #[arg(help_heading = REQUESTS, long, value_name = "N")]
    pub max_arriving_per_connection: Option<usize>,
    /// How long a request waits for the scheduler.
    #[arg(help_heading = REQUESTS, long, default_value = "1s", value_parser = duration, value_name = "DURATION")]
    pub decision_timeout: Duration,
    /// Longest pause between two pieces of an arriving request.
    #[arg(help_heading = REQUESTS, long, default_value = "60s", value_parser = duration, value_name = "DURATION")]
    pub request_idle_timeout: Duration,
    /// Longest time until a request has arrived in full; slower ones are refused with 408.
    #[arg(help_heading = REQUESTS, long, default_value = "120s", value_parser = duration, value_name = "DURATION")]
    pub request_arrival_timeout: Duration,
    /// Lowest average rate of an arriving body, in bytes per second, after the first ten seconds. Slower ones are
    /// refused with 408. 0B means no minimum.
    #[arg(help_heading = REQUESTS, long, default_value = "1KiB", value_parser = rate, value_name = "SIZE")]
    pub request_min_rate: u64,
    /// Which headers steer decisions (objective, fairness id, model rewrite). Where both spellings are trusted and
    /// differ, the request is refused. See docs/headers.md.
    #[arg(help_heading = REQUESTS, long, value_enum, default_value_t = TrustedHeaders::Any, value_name = "SPELLING")]
    pub trusted_headers: TrustedHeaders,
    /// Longest time that a request counts as in flight while its end is unknown.
    #[arg(help_heading = REQUESTS, long, default_value = "1h", value_parser = duration, value_name = "DURATION")]
    pub ticket_lease: Duration,
    /// Memory limit of the prefix index.
    #[arg(help_heading = REQUESTS, long, default_value = "256MiB", value_parser = bytes, value_name = "SIZE")]
    pub prefix_index_size: usize,

    /// Export traces over OTLP to --otlp-endpoint.
    #[arg(help_heading = OBSERVABILITY, long, default_value_t = false, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub tracing: bool,
    /// Endpoint that receives the traces.
    #[arg(help_heading = OBSERVABILITY, long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", default_value = "http://localhost:4317", value_name = "URL")]
    pub otlp_endpoint: String,
    /// Fraction of requests that are traced when the caller makes no sampling decision.
    #[arg(help_heading = OBSERVABILITY, long, env = "OTEL_TRACES_SAMPLER_ARG", default_value_t = 0.1, value_name = "SHARE")]
    pub trace_share: f64,
    /// Service name in traces.
    #[arg(help_heading = OBSERVABILITY, long, env = "OTEL_SERVICE_NAME", default_value = "murmuration/epp", value_name = "NAME")]
    pub service_name: String,
    /// Format of log lines.
    #[arg(help_heading = OBSERVABILITY, long, value_enum, default_value_t = LogFormat::Json, value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// What is logged: 2 (events of the replica), 4 (each request), or a filter such as info,murmuration=debug.
    #[arg(help_heading = OBSERVABILITY, short, long = "verbosity", default_value = "2", value_name = "LEVEL")]
    pub verbosity: String,

    /// Flags of llm-d's that switch nothing here.
    #[command(flatten)]
    pub passed_over: PassedOverArgs,

    /// Stop when standard input ends, so that a parent process leaves no orphans.
    #[arg(long, hide = true)]
    pub exit_with_stdin: bool,
}

/// A pool: `NAME=PORT:FILE`.
fn pool(text: &str) -> Result<PoolArg, String> {
    let parts = text.split_once('=').and_then(|(name, rest)| Some((name, rest.split_once(':')?)));
    let Some((name, (port, file))) = parts.filter(|(_, (_, file))| !file.is_empty()) else {
        return Err(format!("{text:?} is no pool; write NAME=PORT:FILE, as in llama=9002:/etc/murmuration/llama.yaml"));
    };
    let id = PoolId::new(name).map_err(|why| why.to_string())?;
    let port = port.parse().map_err(|_| format!("{port:?} is no port; write NAME=PORT:FILE"))?;
    Ok(PoolArg { id, port, file: file.into() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_both_families_of_units() {
        assert_eq!((bytes("10MiB").unwrap(), bytes("25MB").unwrap(), bytes("7").unwrap()), (10_485_760, 25_000_000, 7));
        assert!(bytes("10XB").is_err());
        assert_eq!((rate("0"), rate("0B"), rate("1KiB")), (Ok(0), Ok(0), Ok(1_024)));
        assert!(bytes("0").is_err() && rate("-1").is_err());
    }

    #[test]
    fn a_pool_has_a_name_a_port_and_a_file() {
        let parsed = pool("llama-8b=9002:/etc/a=b:c.yaml").unwrap();
        let id = PoolId::new("llama-8b").unwrap();
        assert_eq!(parsed, PoolArg { id, port: 9002, file: "/etc/a=b:c.yaml".into() });
        for (bad, cure) in [
            ("llama", "NAME=PORT:FILE"),
            ("llama=/etc/a.yaml", "NAME=PORT:FILE"),
            ("llama=9002:", "NAME=PORT:FILE"),
            ("llama=x:/a", "no port"),
            ("LLAMA=9002:/a", "lower-case"),
            ("=9002:/a", "1 to 253"),
        ] {
            assert!(pool(bad).unwrap_err().contains(cure), "{bad}: {}", pool(bad).unwrap_err());
        }
        let with_file = "murmuration serve --pool a=1:/a --config-file /b".split(' ');
        assert!(Command::try_parse_from(with_file).is_err());
    }

    #[test]
    fn llm_ds_spelling_of_flags_is_accepted() {
        let flags = "murmuration serve --grpc-port 1 --secure-serving=false --refresh-metrics-interval=100ms --ticket-lease 1h30m -v 4";
        let Verb::Serve(args) = Command::try_parse_from(flags.split(' ')).unwrap().verb else { panic!("serve") };
        assert!(!args.secure_serving);
        assert_eq!((args.grpc_port, args.verbosity.as_str()), (1, "4"));
        let (interval, lease) = (args.refresh_metrics_interval, args.ticket_lease);
        assert_eq!((interval, lease), (Duration::from_millis(100), Duration::from_secs(5_400)));
        let wrong = Command::try_parse_from(["murmuration", "serve", "--ticket-lease", "5"]).unwrap_err();
        assert!(wrong.to_string().contains("is no duration such as `1s`"), "{wrong}");
    }
}
