//! The flags of `trace-replay`.
//!
//! Must not know what a run does with the plan that they make.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use murmuration::config;
use murmuration_engine_sim::{EngineConfig, Machine};

use super::compare::{At, Configuration};
use super::plan::{self, Pairs, Plan, Sharing, Way, Zones};
use super::tempo::{Demand, Tempo};
use super::trace::{self, Recorded};
use super::workload::{self, Workload};

/// Replays a trace through a tier of replicas in virtual time, compared with one replica that knows everything at once.
#[derive(Debug, Parser)]
#[command(name = "trace-replay", args_conflicts_with_subcommands = true)]
pub struct Flags {
    /// A command other than one replay.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The flags of one replay.
    #[command(flatten)]
    pub replay: Replay,
}

/// Commands other than one replay.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measures the project's figures, each with its bar, over three seeds.
    Figures(Figures),
    /// Measures the default configuration against llm-d's and one that was tuned by hand, each figure with its bar.
    Price(Figures),
    /// Compares configurations over a sweep of loads.
    Compare(Box<Compare>),
}

/// The flags of `trace-replay figures`.
#[derive(Clone, Debug, Args)]
pub struct Figures {
    /// Uses one seed, and the first 2,500 requests of the conversation trace.
    #[arg(long)]
    pub quick: bool,
    /// The folder with `mooncake/`, `claude-code/` and `azure2023/`. Generated traffic of its kind takes the place of a
    /// missing trace, but for Azure's, which are left out.
    #[arg(long, default_value = "../shared/traces")]
    pub traces: PathBuf,
    /// Prints only the JSON array of the rows, which otherwise follows the table as the last line.
    #[arg(long)]
    pub json: bool,
}

/// The flags of `trace-replay compare`.
#[derive(Clone, Debug, Args)]
pub struct Compare {
    /// The configurations: files, or `default` and `llm-d` for those that are built in. `@N` after one has N replicas
    /// decide by it.
    #[arg(long, value_delimiter = ',', default_value = "llm-d@1,default@1,default@8")]
    pub configs: Vec<String>,
    /// The loads: 1 is all that the engines can compute if every repeated block is cached.
    #[arg(long, value_delimiter = ',', value_parser = positive, default_value = "0.3,0.5,0.66,0.8,0.9")]
    pub loads: Vec<f64>,
    /// Paces instead of loads: how many times faster than recorded.
    #[arg(long, value_delimiter = ',', value_parser = positive)]
    pub speeds: Vec<f64>,
    /// Seeds, from that of `--seed` on.
    #[arg(long, default_value_t = 3)]
    pub seeds: u64,
    /// Writes a picture too: an SVG file.
    #[arg(long)]
    pub svg: Option<PathBuf>,
    /// Traffic and engines; `--load`, `--speed`, `--replicas` and `--config-file` have no effect.
    #[command(flatten)]
    pub replay: Replay,
}

/// The flags of one replay.
#[derive(Clone, Debug, Args)]
pub struct Replay {
    /// The trace: JSON lines in Mooncake's format, or CSV in Azure's.
    #[arg(long, conflicts_with = "workload")]
    pub trace: Option<PathBuf>,
    /// The kind of traffic to generate from the seed if there is no trace.
    #[arg(long, value_enum, default_value = "chat")]
    pub workload: Workload,
    /// Replicas.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub replicas: u16,
    /// Zones that replicas and engines are spread over, in turn.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub zones: u16,
    /// How many ms longer a message takes from one replica to another in another zone.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=1000))]
    pub zone_ms: u64,
    /// Engines.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub engines: u16,
    /// How many times faster than recorded; instead of --load.
    #[arg(long, value_parser = positive)]
    pub speed: Option<f64>,
    /// The load to choose the speed for: 1 is all that the engines can compute if every repeated block is cached.
    #[arg(long, default_value_t = 0.66, value_parser = positive)]
    pub load: f64,
    /// What replicas share with each other.
    #[arg(long, value_enum, default_value = "full")]
    pub sharing: Sharing,
    /// The seed of all random choices.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Prints one JSON object instead of the table.
    #[arg(long)]
    pub json: bool,
    /// Uses only this many requests from the beginning of the trace.
    #[arg(long)]
    pub limit: Option<usize>,
    /// Uses only this many seconds from the beginning of the trace.
    #[arg(long, value_parser = positive)]
    pub duration: Option<f64>,
    /// Spreads requests that were recorded at one instant over three seconds; otherwise they arrive together.
    #[arg(long)]
    pub jitter: bool,
    /// The share of messages that every lane loses.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub loss: f64,
    /// A file with an `EndpointPickerConfig`, instead of the default one.
    #[arg(long)]
    pub config_file: Option<PathBuf>,
    /// Tokens that an engine's KV cache holds; without it, as many as its machine has room for.
    #[arg(long)]
    pub kv_tokens: Option<usize>,
    /// The machine that each engine runs on, instead of one of middle size.
    #[arg(long, value_enum)]
    pub machine: Option<Machine>,
    /// Engines that are slower than the others.
    #[arg(long, default_value_t = 0)]
    pub slow_engines: u16,
    /// How many times as long their steps take.
    #[arg(long, default_value_t = 2.0, value_parser = positive)]
    pub slowness: f64,
    /// Engines that prefill; the others decode. 0: each serves whole requests. With `compare`, and a configuration that
    /// makes pairs.
    #[arg(long, default_value_t = 0)]
    pub prefillers: u16,
    /// How fast KV arrives at an engine that decodes, in GB/s.
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    pub link: f64,
    /// Bytes of KV for each token.
    #[arg(long, default_value_t = 131_072.0, value_parser = positive)]
    pub kv_bytes_per_token: f64,
    /// Compares with the oracle only, without the baselines.
    #[arg(long)]
    pub no_baselines: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|n: &f64| n.is_finite() && *n > 0.0).ok_or_else(|| "a number above 0".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|n| (0.0..1.0).contains(n)).ok_or_else(|| "a share, 0 or more and below 1".to_owned())
}

// === impl Compare ===

impl Compare {
    /// The configurations that `--configs` names.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn configurations(&self) -> Result<Vec<Configuration>, String> {
        self.configs.iter().map(|text| configuration(text)).collect()
    }

    /// The paces.
    pub fn paces(&self) -> Vec<At> {
        match self.speeds.is_empty() {
            true => self.loads.iter().copied().map(At::Load).collect(),
            false => self.speeds.iter().copied().map(At::Speed).collect(),
        }
    }
}

fn configuration(text: &str) -> Result<Configuration, String> {
    let (file, replicas) = match text.rsplit_once('@') {
        Some((file, count)) => (file, count.parse().ok().filter(|count| (1..=64).contains(count))),
        None => (text, Some(1)),
    };
    let replicas = replicas.ok_or_else(|| format!("--configs {text}: 1 to 64 replicas follow the @"))?;
    let config = match file {
        "default" => config::default_text().to_owned(),
        "llm-d" => config::llm_d_text().to_owned(),
        _ => read_config(file.as_ref())?,
    };
    let name = std::path::Path::new(file).file_stem().map_or(file.into(), |stem| stem.to_string_lossy().into_owned());
    Ok(Configuration { name, config, replicas })
}

fn read_config(file: &std::path::Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("can't read the configuration {}: {error}", file.display()))
}

// === impl Replay ===

impl Replay {
    /// The plan that these flags describe.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn plan(&self) -> Result<Plan, String> {
        let config = match &self.config_file {
            None => config::default_text().to_owned(),
            Some(file) => read_config(file)?,
        };
        Ok(Plan {
            replicas: self.replicas.into(),
            zones: Zones { count: self.zones.into(), apart: Duration::from_millis(self.zone_ms) },
            engines: self.engines.into(),
            engine: self.engine(),
            slow_engines: self.slow_engines.into(),
            slowness: self.slowness,
            pairs: (self.prefillers > 0).then(|| Pairs {
                prefillers: self.prefillers.into(),
                kv_bytes_per_token: self.kv_bytes_per_token,
                bytes_per_s: self.link * 1e9,
            }),
            way: Way::Schedulers(self.sharing),
            loss: self.loss,
            seed: self.seed,
            config,
            patience: plan::PATIENCE,
        })
    }

    /// The engines. Blocks are as large as the traces' ids.
    fn engine(&self) -> EngineConfig {
        let Some(machine) = self.machine else { return plan::engine(self.kv_tokens.unwrap_or(plan::KV_TOKENS)) };
        let engine = machine.config();
        let tokens = self.kv_tokens.unwrap_or(engine.blocks * engine.block_tokens);
        plan::in_blocks_of_ids(engine, tokens)
    }

    /// The requests.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn requests(&self) -> Result<Vec<Recorded>, String> {
        let mut requests = match &self.trace {
            Some(path) => trace::read(path, self.limit)?,
            None => workload::generate(self.workload, self.seed),
        };
        requests.truncate(self.limit.unwrap_or(usize::MAX));
        let begin = requests.first().map_or(0.0, |first| first.timestamp);
        if let Some(seconds) = self.duration {
            requests.retain(|request| request.timestamp - begin <= seconds * 1000.0);
        }
        Ok(requests)
    }

    /// The pace for these requests, and the resulting load.
    pub fn pace(&self, plan: &Plan, requests: &[Recorded]) -> Pace {
        let demand = Demand::of(requests);
        let speed = self.speed.unwrap_or_else(|| demand.speed(&plan.engine, plan.engines, self.load));
        let load = demand.load(&plan.engine, plan.engines, speed);
        Pace { demand, speed, load, tempo: Tempo::new(requests, speed, self.jitter, self.seed) }
    }
}

/// How fast requests arrive.
#[derive(Clone, Debug)]
pub struct Pace {
    /// The work of the trace.
    pub demand: Demand,
    /// Times faster than recorded.
    pub speed: f64,
    /// The resulting load.
    pub load: f64,
    /// The arrival times.
    pub tempo: Tempo,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_make_no_sense_are_refused() {
        let bad: [&[&str]; 5] =
            [&["--replicas", "0"], &["--loss", "1"], &["--speed", "-2"], &["--load", "inf"], &["--sharing", "some"]];
        for flags in bad {
            assert!(Flags::try_parse_from([&["replay"], flags].concat()).is_err(), "{flags:?}");
        }
        assert!(Flags::try_parse_from(["replay", "figures", "--quick"]).unwrap().command.is_some());
    }

    #[test]
    fn the_speed_follows_from_the_load_and_the_load_from_the_speed() {
        let flags =
            |more: &[&str]| Flags::try_parse_from([&["replay", "--limit", "200"], more].concat()).unwrap().replay;
        let by_load = flags(&["--load", "0.5"]);
        let (plan, requests) = (by_load.plan().unwrap(), by_load.requests().unwrap());
        let pace = by_load.pace(&plan, &requests);
        assert!((pace.load - 0.5).abs() < 1e-9 && requests.len() == 200);
        let speed = pace.speed.to_string();
        assert!((flags(&["--speed", &speed]).pace(&plan, &requests).load - 0.5).abs() < 1e-6);
    }
}
