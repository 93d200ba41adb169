//! The endpoints of the pool, and this replica's state of each.
//!
//! Must not know sockets, scrapes or gossip: facts arrive as parsed values.

pub mod endpoint;
pub mod failures;
pub mod inflight;
pub mod load;
pub mod speed;
pub mod topology;
pub mod trust;
pub mod unseen;

mod book;
mod entry;

pub use book::{ENDPOINTS_MAX, Fleet, Tenancy};
pub use endpoint::{Endpoint, EndpointChange, Stages};
pub use entry::{CacheLoss, Entry};
pub use failures::{FailureCounts, Failures};
pub use inflight::InFlight;
pub use load::{Adapters, CacheGeometry, LoadReport, Missing, Observation, Process};
pub use speed::PrefillSpeed;
pub use topology::{Location, Nearness, STANDARD_LABELS, TopologyLabels};
pub use trust::{Trust, TrustAges};
pub use unseen::Unseen;
