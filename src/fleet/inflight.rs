//! Open work: what was dispatched to an endpoint and is not known to have ended.
//!
//! Must not know tickets or leases; the ledger keeps those and reports the sums here.

use serde::Serialize;

/// Open work on one endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InFlight {
    /// Requests dispatched and not finished.
    pub requests: u32,
    /// Requests among them whose prompt the endpoint computes, without a first token yet.
    pub prefills: u32,
    /// Prompt tokens that are dispatched, not believed cached, and without a first token yet. They include the
    /// estimated tokens of the answers if the configuration counts those as load.
    pub prefill_tokens: u64,
    /// Estimated tokens of the answers of all open requests, each until its request ends.
    pub decode_tokens: u64,
    /// Prompt tokens that another endpoint computes for this one, whose KV comes from there, without a first token yet.
    pub incoming_tokens: u64,
}

// === impl InFlight ===

impl InFlight {
    /// The sum of both.
    pub fn and(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            prefills: self.prefills.saturating_add(other.prefills),
            prefill_tokens: self.prefill_tokens.saturating_add(other.prefill_tokens),
            decode_tokens: self.decode_tokens.saturating_add(other.decode_tokens),
            incoming_tokens: self.incoming_tokens.saturating_add(other.incoming_tokens),
        }
    }

    /// What is left without `ended`.
    pub fn without(self, ended: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(ended.requests),
            prefills: self.prefills.saturating_sub(ended.prefills),
            prefill_tokens: self.prefill_tokens.saturating_sub(ended.prefill_tokens),
            decode_tokens: self.decode_tokens.saturating_sub(ended.decode_tokens),
            incoming_tokens: self.incoming_tokens.saturating_sub(ended.incoming_tokens),
        }
    }

    /// Splits off what ends with the first token.
    pub fn take_prompt(&mut self) -> Self {
        let kept = Self { prefills: 0, prefill_tokens: 0, incoming_tokens: 0, ..*self };
        std::mem::replace(self, kept).without(kept)
    }
}
