//! An endpoint picker with plugins of its own, [`cost_per_hour`] and [`budget`]: the program `murmuration` with two
//! more types in its catalog. Copy this crate to start with yours.
//!
//! ```text
//! cargo run -p murmuration-example-plugin -- check --config-file examples/plugin/config.yaml
//! ```

mod budget;
mod cost_per_hour;

use std::process::ExitCode;

use murmuration::plugin::Catalog;

use budget::BudgetProducer;
use cost_per_hour::CostPerHour;

fn main() -> ExitCode {
    murmuration_actors::cli::run_with(std::env::args_os(), catalog)
}

/// All types of `murmuration`, and two more.
fn catalog() -> Catalog {
    Catalog::builtin().register::<CostPerHour>().register::<BudgetProducer>()
}
