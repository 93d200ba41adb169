//! The program `testbed`: a whole tier on one machine.

use std::process::ExitCode;

fn main() -> ExitCode {
    murmuration_testbed::local::cli::run(std::env::args_os())
}
