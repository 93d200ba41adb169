//! Storms on real processes: a plan is done to a town, a steady load goes through its Envoy, and what it cost is told.
//!
//! Must not know how the tier decides. `hands` do what a plan says, `traffic` asks, `watch` looks, `figures` add up, `verdict` holds
//! them against the plan's bars, `table` and `page` tell.

pub mod args;
mod command;
mod figures;
mod hands;
mod obstacles;
mod page;
mod plans;
mod rules;
mod run;
mod series;
mod table;
mod traffic;
mod verdict;
mod watch;

#[cfg(test)]
mod tests;

pub use args::StormArgs;
pub use command::command;
pub(crate) use command::within;
pub use figures::Figures;
pub use plans::{SHIPPED, find};
