//! Profile handlers: which scheduling profiles run for a request.
//!
//! Must not know what the profiles do.

pub mod single;

pub use single::SingleProfileHandler;
