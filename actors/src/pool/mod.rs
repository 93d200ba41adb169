//! The watchers of one pool: one endpoint actor for each announced endpoint.
//!
//! Must not know how to choose, scrape or discover endpoints. It decides which are watched, and wakes watchers whose
//! turn begins.

mod watchers;

pub use watchers::{PoolArguments, run};
