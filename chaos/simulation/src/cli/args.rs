//! The command line of `chaos`.
//!
//! Must not know what a command does.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Run storms on a simulated cluster of replicas and engines, drawn from a seed and checked against the tier's
/// invariants.
#[derive(Debug, Parser)]
#[command(name = "chaos", version, about, max_term_width = 110)]
pub(super) struct Command {
    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run one plan, drawn from a seed or read from a file, and print the verdict.
    Run(Run),
    /// Run one plan and print its whole trace.
    Trace(Run),
    /// Run many seeds, each in a process of its own, and print those that fail.
    Sweep(Sweep),
    /// Make a failing plan smaller while it still fails in the same way.
    Shrink(Shrink),
    /// Run each plan twice and compare the two histories line by line.
    CheckDeterminism(CheckDeterminism),
    /// List invariants, faults, scenarios and plans.
    List(List),
}

/// The flags of `chaos run` and `chaos trace`.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// A seed, or the path of a plan in YAML or JSON.
    pub(super) what: String,
    /// Print one JSON object and nothing else.
    #[arg(long)]
    pub(super) json: bool,
    /// Print every entry of the history, including those that a trace leaves out.
    #[arg(long, conflicts_with = "json")]
    pub(super) all: bool,
}

/// The flags of `chaos sweep`.
#[derive(Debug, Args)]
pub(super) struct Sweep {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    pub(super) seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    pub(super) from: u64,
    /// How many run at once; by default one for each core.
    #[arg(long)]
    pub(super) jobs: Option<NonZeroUsize>,
    /// Start no seed after this many minutes.
    #[arg(long)]
    pub(super) minutes: Option<f64>,
    /// Stop at the first failure.
    #[arg(long)]
    pub(super) first: bool,
    /// Print one JSON object at the end and nothing else.
    #[arg(long)]
    pub(super) json: bool,
}

/// The flags of `chaos shrink`.
#[derive(Debug, Args)]
pub(super) struct Shrink {
    /// A seed, or the path of a plan.
    pub(super) what: String,
    /// The file to which the smaller plan is written.
    #[arg(long, default_value = "plan.json")]
    pub(super) out: PathBuf,
    /// The most plans to try.
    #[arg(long, default_value_t = 200)]
    pub(super) trials: usize,
}

/// The flags of `chaos check-determinism`.
#[derive(Debug, Args)]
pub(super) struct CheckDeterminism {
    /// Seeds, or paths of plans.
    #[arg(required = true)]
    pub(super) what: Vec<String>,
}

/// The flags of `chaos list`.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Print one JSON object.
    #[arg(long)]
    pub(super) json: bool,
}
