//! Open work: what was dispatched to an endpoint and is not known to have ended.
//!
//! Must not know tickets or leases; the ledger keeps those and reports the sums here.

use serde::Serialize;

/// Open work on one endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InFlight {
    /// Requests dispatched and not finished.
    pub requests: u32,
    /// Prompt tokens that are dispatched, not believed cached, and without a first token yet. They include the
    /// estimated tokens of the answers if the configuration counts those as load.
    pub prefill_tokens: u64,
    /// Estimated tokens of the answers of all open requests, each until its request ends.
    pub decode_tokens: u64,
}

// === impl InFlight ===

impl InFlight {
    /// The sum of both.
    pub fn and(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            prefill_tokens: self.prefill_tokens.saturating_add(other.prefill_tokens),
            decode_tokens: self.decode_tokens.saturating_add(other.decode_tokens),
        }
    }
}
