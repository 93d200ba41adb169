//! The command line of `chaos`.
//!
//! Must not know what a command does.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::engine::cli::EngineArgs;
use crate::storm::StormArgs;
use crate::town::args::Rest;

/// Storms on a simulated town of replicas and engines, from a seed, judged by what the tier promises.
#[derive(Debug, Parser)]
#[command(name = "chaos", version, about, max_term_width = 110)]
pub(super) struct Command {
    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run one plan, a seed's or a file's, and tell the verdict.
    Run(Run),
    /// Run one plan and write its whole score.
    Replay(Run),
    /// Run many seeds, each in a process of its own, and tell those that fail.
    Sweep(Sweep),
    /// Make a failing plan smaller as long as it fails in the same way.
    Shrink(Shrink),
    /// Run each plan twice and compare what happened line by line.
    Meta(Meta),
    /// List promises, faults, stories and plans.
    List(List),
    /// Do a plan to real processes: a real Envoy, real replicas, emulated engines.
    Storm(StormArgs),
    /// One emulated engine of a storm's town.
    #[command(hide = true)]
    Engine(Box<EngineArgs>),
    /// One replica of a storm's town.
    #[command(hide = true, disable_help_flag = true)]
    Serve(Rest),
}

/// The flags of `chaos run` and `chaos replay`.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// A seed, or the path of a plan in YAML or JSON.
    pub(super) what: String,
    /// Writes one JSON object and nothing else.
    #[arg(long)]
    pub(super) json: bool,
    /// Writes every entry of the chronicle, also those that are no part of the score.
    #[arg(long, conflicts_with = "json")]
    pub(super) all: bool,
}

/// The flags of `chaos sweep`.
#[derive(Debug, Args)]
pub(super) struct Sweep {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    pub(super) seeds: u64,
    /// The first.
    #[arg(long, default_value_t = 0)]
    pub(super) from: u64,
    /// How many at once; as many as there are cores, when not said.
    #[arg(long)]
    pub(super) jobs: Option<NonZeroUsize>,
    /// Starts no seed after this many minutes.
    #[arg(long)]
    pub(super) minutes: Option<f64>,
    /// Ends with the first failure.
    #[arg(long)]
    pub(super) first: bool,
    /// Writes one JSON object at the end and nothing else.
    #[arg(long)]
    pub(super) json: bool,
}

/// The flags of `chaos shrink`.
#[derive(Debug, Args)]
pub(super) struct Shrink {
    /// A seed, or the path of a plan.
    pub(super) what: String,
    /// Where the smaller plan is written.
    #[arg(long, default_value = "plan.json")]
    pub(super) out: PathBuf,
    /// Plans that are tried, at most.
    #[arg(long, default_value_t = 200)]
    pub(super) trials: usize,
}

/// The flags of `chaos meta`.
#[derive(Debug, Args)]
pub(super) struct Meta {
    /// Seeds, or paths of plans.
    #[arg(required = true)]
    pub(super) what: Vec<String>,
}

/// The flags of `chaos list`.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Writes one JSON object.
    #[arg(long)]
    pub(super) json: bool,
}
