//! `bench`: what a replica costs.
//!
//! Must not know anything: see `murmuration_chaos::bench`.

use std::process::ExitCode;

fn main() -> ExitCode {
    murmuration_chaos::bench::run(std::env::args_os().collect())
}
