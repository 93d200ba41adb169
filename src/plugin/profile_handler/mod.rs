//! Profile handlers: each chooses the scheduling profiles that run for a request, step by step.
//!
//! Must not know what the profiles do.

pub mod disagg;
mod disagg_parameters;
pub mod single;

pub use disagg::{DisaggProfileHandler, PdProfileHandler};
pub use single::SingleProfileHandler;
