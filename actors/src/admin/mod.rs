//! What operators can read of a replica: metrics, health, its view of the pool, and the reasons of its decisions.
//!
//! Must not know how to decide or serve; it only reads.

mod access;
mod answer;
pub mod client;
pub mod explain;
mod health;
mod health_server;
mod pages;
mod pages_server;
pub mod printable;
mod readiness;
mod replication_page;
mod scrapers;
pub mod tables;

pub use access::{DebugAccess, DebugPages};
pub use health::HealthService;
pub(crate) use health_server::serve_health;
pub use pages::{Pages, PoolPages, router};
pub(crate) use pages_server::serve_pages;
pub use readiness::Readiness;
pub use scrapers::MetricsAccess;
