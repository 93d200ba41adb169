//! What was dispatched to an endpoint and not seen to end.
//!
//! Must not know tickets or leases; the ledger keeps those and tells the sums here.

use serde::Serialize;

/// Open work on one endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InFlight {
    /// Requests dispatched and not finished.
    pub requests: u32,
    /// Prompt tokens dispatched, not thought cached, and not yet answered by a first token; with them the answers' estimated
    /// tokens where the configuration counts those as load.
    pub prefill_tokens: u64,
    /// Estimated tokens of the answers of all open requests, each until its request ends.
    pub decode_tokens: u64,
}

// === impl InFlight ===

impl InFlight {
    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            prefill_tokens: self.prefill_tokens.saturating_add(other.prefill_tokens),
            decode_tokens: self.decode_tokens.saturating_add(other.decode_tokens),
        }
    }
}
