//! The actor that supervises one pool: its scheduler, its discovery and one watcher for each endpoint.
//!
//! Must not know how to choose, scrape or discover; it knows who must be alive, and what the newborn must be told again.

mod actor;
mod handle;
mod restarts;

pub use actor::{PoolActor, PoolArguments};
pub use handle::{PoolHandle, PoolMessage};
