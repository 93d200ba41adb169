//! Log lines about watches of the Kubernetes API.
//!
//! Must not know metrics.

use murmuration::event::Event;
use tracing::{debug, info, warn};

pub(super) fn record(event: &Event) {
    match event {
        Event::WatchFailed { resource, reason } => debug!(resource, reason, "watch failed and is tried again"),
        Event::WatchInterrupted { resource, why } => {
            warn!(resource, why, "the API server can't be watched; what was known stays in force");
        }
        Event::WatchEstablished { resource, objects, outage: None } => info!(resource, objects, "watched"),
        Event::WatchEstablished { resource, objects, outage: Some(outage) } => {
            info!(resource, objects, after_ms = outage.as_millis() as u64, "watched again");
        }
        Event::WatchAbsent { resource } => {
            info!(resource, "the cluster does not have this kind of object; it is looked for again");
        }
        Event::ObjectRefused { object, why } => warn!(object, why, "object refused; what was known stays in force"),
        Event::StatusWrite { resource, outcome } => debug!(resource, outcome, "condition written"),
        Event::StatusDenied { resource, why } => {
            warn!(resource, why, "conditions of these objects can't be written; nothing else depends on them");
        }
        Event::MetricsRefused(reason) => debug!(reason, "a caller of /metrics was refused"),
        Event::ReviewFailed(why) => {
            warn!(why, "the API server can't be asked who may read /metrics; only callers that it admitted lately may");
        }
        Event::PoolMissing { pool } => {
            warn!(pool, "the InferencePool does not exist; this replica is not ready until it does");
        }
        _ => {}
    }
}
