//! Profile handlers: each chooses the scheduling profiles that run for a request, step by step.
//!
//! Must not know what the profiles do.

pub mod data_parallel;
pub mod disagg;
mod disagg_parameters;
pub mod header;
pub mod pair;
mod pair_field;
mod pair_parameters;
mod pair_price;
mod pair_search;
pub mod single;
mod stage;

pub use data_parallel::DataParallelProfileHandler;
pub use disagg::{DisaggProfileHandler, PdProfileHandler};
pub use header::HeaderProfileHandler;
pub use pair::PairProfileHandler;
pub use single::SingleProfileHandler;
