//! The program `chaos`: see [`murmuration_chaos::cli`].
//!
//! Must not know anything but its own name.

use std::process::ExitCode;

use murmuration_chaos::{cli, sim};

fn main() -> ExitCode {
    cli::run(std::env::args_os(), |plan, sink| sim::run(plan, sink).map_err(|error| error.to_string()))
}
