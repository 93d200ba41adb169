//! The command line. Nothing else reads flags or the environment.
//!
//! Must not know what a flag does. Names and defaults are llm-d's where llm-d has the flag.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A leaderless Endpoint Picker for the Kubernetes Gateway API Inference Extension.
#[derive(Debug, Parser)]
#[command(name = "murmuration", version, about, max_term_width = 110)]
pub struct Command {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run one replica of the tier.
    Serve(Box<ServeArgs>),
    /// Read a configuration and print what it means, every default written out, or all of its errors.
    Check(CheckArgs),
    /// Tell why a request went where it went.
    Explain(ExplainArgs),
    /// Show the pool as one replica believes it to be.
    Fleet(AdminArgs),
    /// Show the other replicas as one of them sees them.
    Peers(AdminArgs),
}

/// Where the configuration comes from.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    /// An EndpointPickerConfig file.
    #[arg(long, value_name = "FILE", conflicts_with = "config_text")]
    pub config_file: Option<PathBuf>,
    /// An EndpointPickerConfig as text.
    #[arg(long, value_name = "YAML")]
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
    /// The request's x-request-id; without it, the last decisions are listed.
    pub request_id: Option<String>,
    /// The admin address of the replica that decided.
    #[arg(long, default_value = "127.0.0.1:9090", value_name = "IP:PORT")]
    pub admin: SocketAddr,
}

/// Flags of `fleet` and `peers`.
#[derive(Debug, Args)]
pub struct AdminArgs {
    /// The admin address of the replica.
    #[arg(long, default_value = "127.0.0.1:9090", value_name = "IP:PORT")]
    pub admin: SocketAddr,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For machines: one JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Whether a replica sees the answers of the requests it routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ResponsePath {
    /// It sees them: usage and latency are measured, and a request's end is known at once.
    Stay,
    /// It leaves once the request is routed: far cheaper, and its own end can't cut a running answer; the end of a
    /// request is learned from the engine's reports.
    Leave,
}

/// Who scrapes an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Keepers {
    /// One replica for each endpoint; it tells the others.
    One,
    /// Every replica.
    All,
}

/// Flags of a replica that has peers.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Flock")]
pub struct FlockArgs {
    /// Where other replicas are found: HOST:PORT of their gossip; a DNS name stands for all of its addresses. May be
    /// repeated. Without it the replica is alone and shares nothing.
    #[arg(long = "peer", value_name = "HOST:PORT")]
    pub peers: Vec<String>,
    /// This replica's name, its own in the tier; the host's name and the gossip port where it is not given.
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub replica_name: Option<String>,
    /// This replica's zone; it keeps endpoints of its own zone first.
    #[arg(long, env = "ZONE", default_value = "", value_name = "ZONE")]
    pub zone: String,
    /// The address that others reach this replica by; the bound one where it is not given.
    #[arg(long, env = "POD_IP", value_name = "IP")]
    pub advertise: Option<IpAddr>,
    /// UDP port of gossip.
    #[arg(long, default_value_t = 9004, value_name = "PORT")]
    pub gossip_port: u16,
    /// From one round of gossip to the next.
    #[arg(long, default_value = "50ms", value_parser = duration, value_name = "DURATION")]
    pub gossip_interval: Duration,
    /// A file with the tier's key, 32 bytes in base64; a second line may hold the key before it, which is still
    /// accepted. Read again when it changes.
    #[arg(long, value_name = "FILE")]
    pub gossip_key_file: Option<PathBuf>,
    /// Gossip in the clear: anybody who reaches the port can speak for a replica.
    #[arg(long, conflicts_with = "gossip_key_file")]
    pub insecure_gossip: bool,
    /// Port of peer streams.
    #[arg(long, default_value_t = 9005, value_name = "PORT")]
    pub peer_port: u16,
    /// Whether facts go by peer streams too; without them all goes by gossip, and is older.
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub peer_streams: bool,
    /// A folder with ca.crt, tls.crt and tls.key for peer streams; both sides show a certificate for `murmuration-peer`.
    #[arg(long, value_name = "DIR")]
    pub peer_cert_path: Option<PathBuf>,
    /// Peer streams in the clear.
    #[arg(long, conflicts_with = "peer_cert_path")]
    pub insecure_peer_streams: bool,
    /// Who scrapes an endpoint.
    #[arg(long, value_enum, default_value_t = Keepers::One)]
    pub keepers: Keepers,
}

/// Flags of `serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// The configuration; without it, llm-d's default applies.
    #[command(flatten)]
    pub config: ConfigArgs,

    /// The address that all servers bind.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED), value_name = "IP")]
    pub bind: IpAddr,
    /// Port of the ext-proc service.
    #[arg(long, default_value_t = 9002, value_name = "PORT")]
    pub grpc_port: u16,
    /// Port of the gRPC health service.
    #[arg(long, default_value_t = 9003, value_name = "PORT")]
    pub grpc_health_port: u16,
    /// Port of metrics and debug pages.
    #[arg(long, default_value_t = 9090, value_name = "PORT")]
    pub metrics_port: u16,

    /// Serve ext-proc over TLS.
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub secure_serving: bool,
    /// A folder with tls.crt and tls.key; without it, a self-signed certificate is made.
    #[arg(long, value_name = "DIR")]
    pub cert_path: Option<PathBuf>,

    /// The other replicas.
    #[command(flatten)]
    pub flock: FlockArgs,

    /// The InferencePool's name, the `name` label of pool metrics.
    #[arg(long, default_value = "default", value_name = "NAME")]
    pub pool_name: String,
    /// From one scrape of an engine to the next; 50ms at least.
    #[arg(long, default_value = "50ms", value_parser = duration, value_name = "DURATION")]
    pub refresh_metrics_interval: Duration,
    /// From one refresh of the pool's gauges to the next.
    #[arg(long, default_value = "5s", value_parser = duration, value_name = "DURATION")]
    pub refresh_prometheus_metrics_interval: Duration,

    /// After SIGTERM: not ready at once, and gone after this long at most.
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "DURATION")]
    pub drain_timeout: Duration,
    /// Whether answers pass through this replica.
    #[arg(long, value_enum, default_value_t = ResponsePath::Stay)]
    pub response_path: ResponsePath,
    /// The longest body; longer ones are refused with 413.
    #[arg(long, default_value = "64MiB", value_parser = bytes, value_name = "SIZE")]
    pub max_body_size: usize,
    /// Streams open at once; further ones are refused with 503.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pub max_streams: usize,
    /// How long a request waits for the scheduler.
    #[arg(long, default_value = "1s", value_parser = duration, value_name = "DURATION")]
    pub decision_timeout: Duration,
    /// How long a request may go without its next piece.
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "DURATION")]
    pub request_idle_timeout: Duration,
    /// How long a request may count as in flight without news of its end.
    #[arg(long, default_value = "1h", value_parser = duration, value_name = "DURATION")]
    pub ticket_lease: Duration,
    /// Memory of the prefix index.
    #[arg(long, default_value = "256MiB", value_parser = bytes, value_name = "SIZE")]
    pub prefix_index_size: usize,

    /// Export traces over OTLP; where to is said by OTEL_EXPORTER_OTLP_ENDPOINT.
    #[arg(long, default_value_t = false, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub tracing: bool,
    /// Where traces go.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", default_value = "http://localhost:4317", value_name = "URL")]
    pub otlp_endpoint: String,
    /// Share of requests that are traced when their caller did not say.
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", default_value_t = 0.1, value_name = "SHARE")]
    pub trace_share: f64,
    /// The service's name in traces.
    #[arg(long, env = "OTEL_SERVICE_NAME", default_value = "murmuration/epp", value_name = "NAME")]
    pub service_name: String,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// What is logged: 2 (life of the replica), 4 (each request), or a filter such as info,murmuration=debug.
    #[arg(short, long = "verbosity", default_value = "2", value_name = "LEVEL")]
    pub verbosity: String,

    /// Stop when standard input ends: for a parent that must not leave orphans.
    #[arg(long, hide = true)]
    pub exit_with_stdin: bool,
}

/// A Go-like duration: `50ms`, `2.5s`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 0.001), ("us", 0.000_001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let (number, unit) = number_and_unit(text);
    let scale = units.iter().find(|(name, _)| *name == unit).map(|(_, scale)| scale);
    let seconds = number.zip(scale).map(|(number, scale)| number * scale);
    let fits = seconds.filter(|seconds| (0.0..=1e9).contains(seconds));
    fits.map(Duration::from_secs_f64).ok_or_else(|| format!("{text:?} is no duration; write 50ms, 2.5s, 10m or 1h"))
}

/// A size: `10MiB`, `25MB`, `65536`.
fn bytes(text: &str) -> Result<usize, String> {
    let units = [
        ("", 1.0),
        ("B", 1.0),
        ("KiB", 1024.0),
        ("MiB", 1_048_576.0),
        ("GiB", 1_073_741_824.0),
        ("KB", 1e3),
        ("MB", 1e6),
        ("GB", 1e9),
    ];
    let (number, unit) = number_and_unit(text);
    let scale = units.iter().find(|(name, _)| *name == unit).map(|(_, scale)| scale);
    let size = number.zip(scale).map(|(number, scale)| number * scale);
    let fits = size.filter(|size| (1.0..=1e12).contains(size));
    fits.map(|size| size as usize).ok_or_else(|| format!("{text:?} is no size; write 65536, 25MB or 10MiB"))
}

fn number_and_unit(text: &str) -> (Option<f64>, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (text[..end].parse().ok(), &text[end..])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_writes_them() {
        assert_eq!(duration("50ms").unwrap(), Duration::from_millis(50));
        assert_eq!(duration("2.5s").unwrap(), Duration::from_millis(2500));
        assert_eq!(duration("1h").unwrap(), Duration::from_secs(3600));
        for bad in ["", "5", "s", "-1s", "5 s", "5d", "1e9h"] {
            assert!(duration(bad).unwrap_err().contains("write 50ms"), "{bad}");
        }
    }

    #[test]
    fn sizes_take_both_families_of_units() {
        assert_eq!((bytes("10MiB").unwrap(), bytes("25MB").unwrap(), bytes("7").unwrap()), (10_485_760, 25_000_000, 7));
        assert!(bytes("10XB").is_err());
    }

    #[test]
    fn llm_ds_spelling_of_flags_is_understood() {
        let flags = "murmuration serve --grpc-port 1 --secure-serving=false --refresh-metrics-interval=100ms -v 4";
        let Verb::Serve(args) = Command::try_parse_from(flags.split(' ')).unwrap().verb else { panic!("serve") };
        assert!(!args.secure_serving);
        assert_eq!((args.grpc_port, args.verbosity.as_str()), (1, "4"));
    }
}
