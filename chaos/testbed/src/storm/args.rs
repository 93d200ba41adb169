//! The flags of a storm.
//!
//! Must not know what a flag does.

use std::path::PathBuf;

use clap::Args;

/// How a storm is run and reported.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub struct StormOptions {
    /// Print one JSON object and nothing else.
    #[arg(long)]
    pub json: bool,
    /// Where the HTML report goes [default: storm.html in the testbed's folder].
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Halve all times of the plan; a fault still lasts at least two seconds, unless the plan makes it shorter.
    #[arg(long)]
    pub short: bool,
    /// Requests per second; overrides the plan.
    #[arg(long, value_name = "NUMBER")]
    pub rate: Option<f64>,
    /// Whether replicas see answers; overrides the plan.
    #[arg(long, value_enum, value_name = "PATH")]
    pub answers: Option<murmuration_simulation::plan::ResponsePath>,
}
