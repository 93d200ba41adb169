//! An endpoint picker with a plugin of its own, [`cost_per_hour`]: the program `murmuration` with one more type in its
//! catalog. Copy this crate to start with yours.
//!
//! ```text
//! cargo run -p murmuration-example-plugin -- check --config-file examples/plugin/config.yaml
//! ```

mod cost_per_hour;

use std::process::ExitCode;

use murmuration::plugin::Catalog;

use cost_per_hour::CostPerHour;

fn main() -> ExitCode {
    murmuration_actors::cli::run_with(std::env::args_os(), catalog)
}

/// All types of `murmuration`, and one more.
fn catalog() -> Catalog {
    Catalog::builtin().register::<CostPerHour>()
}
