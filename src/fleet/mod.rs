//! The endpoints of the pool, and what this replica holds of each.
//!
//! Must not know sockets, scrapes or gossip: facts arrive as values, already read.

pub mod endpoint;
pub mod inflight;
pub mod load;
pub mod trust;
pub mod unseen;

mod book;

pub use book::{ENDPOINTS_MAX, Entry, Fleet, Tenancy};
pub use endpoint::{Endpoint, EndpointChange};
pub use inflight::InFlight;
pub use load::{Adapters, CacheGeometry, LoadReport, Observation};
pub use trust::Trust;
pub use unseen::Unseen;
