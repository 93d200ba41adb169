//! Log lines of a sidecar: each request at `debug`, problems at `warn` with a limited rate.
//!
//! Must not know metrics. No prompt is logged.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use murmuration::event::SidecarEvent;
use tokio::time::Instant;
use tracing::{debug, info, warn};

/// The interval between two lines about one kind of problem.
const TROUBLE_EVERY: Duration = Duration::from_secs(10);

/// Writes a sidecar's events to the log.
#[derive(Debug, Default)]
pub(super) struct SidecarLog {
    /// Kinds are words of the code, so they are few.
    troubles: Mutex<BTreeMap<Kind, Logged>>,
}

/// A kind of problem, and its detail.
type Kind = (&'static str, &'static str);

/// When a kind was logged last, and how often it was left out since.
type Logged = (Instant, u64);

// === impl SidecarLog ===

impl SidecarLog {
    pub(super) fn record(&self, event: &SidecarEvent) {
        match event {
            SidecarEvent::LegEnded { connector, stage, target, outcome, took } => {
                let took_ms = took.as_millis() as u64;
                debug!(connector, stage, engine = target, outcome, took_ms, "leg ended");
                if !["ok", "refused", "cancelled"].contains(outcome)
                    && let Some(times) = self.due(stage, outcome)
                {
                    warn!(connector, stage, engine = target, outcome, times, "a leg failed");
                }
            }
            SidecarEvent::HandedOver { connector, result } => {
                debug!(connector, result, "hand-off");
                if !["ok", "several-sequences"].contains(result)
                    && let Some(times) = self.due("hand-off", result)
                {
                    warn!(
                        connector,
                        result, times, "a prefill could not be handed over; the decode engine computed the prompt"
                    );
                }
            }
            SidecarEvent::FellBack { connector, stage } => {
                debug!(connector, stage, "the decode engine serves the request alone");
            }
            SidecarEvent::Refused { code, why } => debug!(code, why, "refused"),
            SidecarEvent::TargetRefused { stage, target } => {
                if let Some(times) = self.due("target", stage) {
                    warn!(
                        stage,
                        engine = target,
                        times,
                        "a header named a target that is not allowed; see --allowed-targets"
                    );
                }
            }
            SidecarEvent::FieldRemoved { field } => {
                if let Some(times) = self.due("field", field) {
                    warn!(field, times, "a client set a field that only a sidecar may set; it was removed");
                }
            }
            SidecarEvent::PrefillerRestarted { target } => info!(engine = target, "a prefill engine was restarted"),
            SidecarEvent::Asked { .. } | SidecarEvent::Split { .. } => {}
        }
    }

    /// How often this happened since the last line about it; `None` if that was a moment ago.
    fn due(&self, kind: &'static str, detail: &'static str) -> Option<u64> {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match troubles.get_mut(&(kind, detail)) {
            Some((logged, times)) if now.duration_since(*logged) < TROUBLE_EVERY => {
                *times += 1;
                None
            }
            Some((logged, times)) => {
                *logged = now;
                Some(std::mem::take(times) + 1)
            }
            None => {
                troubles.insert((kind, detail), (now, 0));
                Some(1)
            }
        }
    }
}
