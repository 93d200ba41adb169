//! The watchers of one pool: one endpoint actor for each endpoint that was announced.
//!
//! Must not know how to choose, scrape or discover; it knows who must be watched, and wakes those whose watching begins.

mod watchers;

pub use watchers::{PoolArguments, run};
