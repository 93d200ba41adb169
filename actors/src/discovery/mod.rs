//! The actor that finds out which endpoints the pool has, here from a file (`file-discovery`).
//!
//! Must not know who watches the endpoints, nor what they are good for. What can't be read changes nothing: losing
//! discovery makes a replica old, never empty.

mod file;
mod resolve;

pub use file::{DiscoveryMessage, FileDiscoveryActor, FileDiscoveryArguments};
