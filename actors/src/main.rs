//! `murmuration`: one replica of a leaderless tier of Endpoint Pickers. The program itself is in `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    murmuration_actors::cli::run(std::env::args_os())
}
