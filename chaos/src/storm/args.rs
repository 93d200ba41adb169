//! The flags of a storm.
//!
//! Must not know what a flag does.

use std::path::PathBuf;

use clap::Args;

/// A storm on real processes: exit code 0 if the plan's bars are met, 1 if not, 64 if asked wrongly, 77 if it was skipped because a
/// fault of the plan can't be injected on this machine.
#[derive(Clone, Debug, Args)]
pub struct StormArgs {
    /// The name of a shipped plan, or the path of one in YAML or JSON.
    #[arg(value_name = "PLAN")]
    pub plan: String,
    /// How it is done and told.
    #[command(flatten)]
    pub telling: Telling,
}

/// How a storm is done and told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Telling {
    /// Print one JSON object and nothing else.
    #[arg(long)]
    pub json: bool,
    /// Where the report for people goes [default: storm.html in the town's folder].
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Do it in at most half the time: all moments of the plan come twice as early, but nothing lasts less than two seconds.
    #[arg(long)]
    pub short: bool,
    /// Whether replicas see answers, whatever the plan says.
    #[arg(long, value_enum, value_name = "PATH")]
    pub answers: Option<crate::town::args::ResponsePath>,
}
