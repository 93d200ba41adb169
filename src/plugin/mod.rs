//! The plugin contract, the catalog, and the plugins themselves: one file each.
//!
//! Plugins do not know each other, keep no state between requests, and see only [`crate::schedule::Candidate`] rows.

pub mod admission;
pub mod catalog;
pub mod contract;
pub mod decider;
pub mod filter;
pub mod picker;
pub mod producer;
pub mod profile_handler;
pub mod registration;
pub mod scorer;
pub mod served_verifier;
pub mod session_affinity;
pub mod verdict;

pub(crate) mod parameters;
pub(crate) mod unsupported;

#[cfg(test)]
pub(crate) mod testing;

pub use catalog::Catalog;
pub use contract::{Admission, Filter, Picker, ProfileHandler, RequestHook, ResponseHook, Runs, Scorer};
pub use producer::{Learned, Learning, Producer, RequestBody, Unprepared};
pub use registration::{Invalid, Kept, NoParameters, Plugin, Produced, Roles, SessionSource};
pub use verdict::{Decider, Verdict};
