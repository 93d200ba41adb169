//! The program `engine-sim`: one emulated vLLM server.

use std::process::ExitCode;

use clap::Parser;
use murmuration_engine_sim::cli::{self, EngineArgs};

/// An emulated vLLM server: vLLM's routes, streams, errors and metrics page, without a GPU.
#[derive(Debug, Parser)]
#[command(name = "engine-sim", version, about, max_term_width = 110)]
struct Command {
    #[command(flatten)]
    engine: EngineArgs,
}

fn main() -> ExitCode {
    cli::run(Command::parse().engine)
}
