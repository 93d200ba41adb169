//! The watchers of one pool: one endpoint actor for each announced endpoint.
//!
//! Must not know how to choose, scrape or discover endpoints. It knows which must be watched here, and
//! wakes the watchers of those that this replica begins to watch.

mod watchers;

pub use watchers::{PoolArguments, run};
