//! A whole tier on one machine.

use std::process::ExitCode;

fn main() -> ExitCode {
    murmuration_chaos::town::cli::run(std::env::args_os())
}
