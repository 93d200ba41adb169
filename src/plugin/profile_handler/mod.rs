//! Profile handlers: each selects the scheduling profiles that run for a request.
//!
//! Must not know what the profiles do.

pub mod single;

pub use single::SingleProfileHandler;
