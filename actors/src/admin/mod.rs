//! What operators ask a replica: its metrics, its health, what it believes, and why it decided as it did.
//!
//! Must not know how to decide or serve; it reads.

pub mod client;
pub mod explain;
mod flock_page;
mod health;
mod pages;
mod readiness;
pub mod tables;

pub use health::HealthService;
pub use pages::{Pages, router};
pub use readiness::Readiness;
