//! The program `chaos`: see [`murmuration_simulation::cli`].
//!
//! It links the entropy source that is derived from a seed. The library does not, so that other programs can use it.

use std::process::ExitCode;

use murmuration_simulation::{cli, cluster};

fn main() -> ExitCode {
    cli::run(std::env::args_os(), |plan, sink| {
        cluster::run(plan, murmuration_entropy::seed, sink).map_err(|error| error.to_string())
    })
}
