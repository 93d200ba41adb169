//! `murmuration`: one replica of a leaderless tier of Endpoint Pickers.
//!
//! Must not know anything: see `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    murmuration_actors::cli::run(std::env::args_os())
}
