//! The actor that discovers the pool's endpoints, here from a file (`file-discovery`).
//!
//! Must not know what watches the endpoints, nor how they are used. Unreadable input changes nothing: without discovery
//! a replica keeps its last endpoints.

mod file;
pub(crate) mod resolve;

pub use file::{DiscoveryMessage, FileDiscoveryActor, FileDiscoveryArguments};
