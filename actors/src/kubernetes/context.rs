//! What every watch needs.
//!
//! Must not know which watches there are.

use kube::Client;

use crate::telemetry::Telemetry;

/// What every watch needs.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) client: Client,
    /// This replica's name, which tells the pauses of replicas apart.
    pub(super) me: String,
    pub(super) telemetry: Telemetry,
}
