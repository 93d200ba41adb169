//! Storms on real processes: the faults of a plan are injected into a testbed, a steady load goes through its Envoy,
//! and the cost is reported.
//!
//! Must not know how the tier decides. `fault_injector` injects faults, `traffic` makes requests, `watch` observes,
//! `figures` adds up, `verdict` compares figures with the plan's bars, `table` and `page` report.

pub mod args;
mod command;
mod fault_injector;
mod figures;
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

pub(crate) use command::within;
pub use figures::Figures;
pub use plans::{SHIPPED, find};
