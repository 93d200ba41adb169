//! KV on its way from the engine that prefills to the one that decodes.
//!
//! Must not know how a pair was chosen. Each transfer has its link for itself. As NixlConnector does, the decode engine
//! reads the blocks of the other one; it computes the prompt itself if they can't be read to the end. Nothing tells it
//! that a lease had ended before it began: it reads the blocks of others.

use std::sync::PoisonError;
use std::time::Duration;

use murmuration::chance::{Chance, mix};
use murmuration_engine_sim::model::Received;
use tokio::time::sleep;

use super::Shared;
use crate::cluster::engine::Promise;
use crate::plan::TransferFault;

/// Bytes of KV for a token, and bytes that a link moves in a second within a zone and between zones: the defaults of
/// `pair-profile-handler`.
const TOKEN_BYTES: f64 = 131_072.0;
const LINK_BYTES: [f64; 2] = [10e9, 1e9];
/// How long an engine waits for another one that it can't reach.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How soon a transfer that can't go on ends.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

// === impl Shared ===

impl Shared {
    /// What goes wrong with the KV of this request, if anything.
    pub(super) fn transfer_fault(&self, request: u64) -> Option<(TransferFault, Duration)> {
        let faults = *self.transfers.lock().unwrap_or_else(PoisonError::into_inner);
        let drawn = Chance::from_seed(mix(request ^ 0x006b_7631)).unit();
        faults.filter(|faults| drawn < faults.share).map(|faults| (faults.does, faults.by))
    }

    /// Moves the KV of a prompt from one engine to another. The error says why the decode engine computes it itself.
    pub(super) async fn moved(
        &self,
        (from, to): (usize, usize),
        promise: Promise,
        prompt: &[u32],
    ) -> Result<Received, &'static str> {
        if !self.engines_meet(from, to) {
            sleep(CONNECT_TIMEOUT).await;
            return Err("engines don't reach each other");
        }
        let fault = self.transfer_fault(promise.request);
        let read = self.engines[from].read(promise, prompt.len()).ok_or("the prefill engine is another process")?;
        let slow = match fault {
            Some((TransferFault::Slow, by)) => by,
            _ => Duration::ZERO,
        };
        let end = self.recorder.now() + self.takes(from, to, prompt) + slow;
        let mut goes_on = true;
        while goes_on && self.recorder.now() < end {
            sleep(LOOK_INTERVAL.min(end - self.recorder.now())).await;
            // Blocks of others are read to the end without an error.
            let whole = read.taint != 0 || self.engines[from].keeps(promise);
            goes_on = whole && self.engines_meet(from, to) && self.engines[from].start() == promise.start;
        }
        self.engines[from].release(promise);
        match fault {
            _ if !goes_on => Err("the transfer broke"),
            Some((TransferFault::Fails, _)) => Err("the transfer failed"),
            _ => Ok(read),
        }
    }

    /// How long the KV that the decode engine does not hold is on its way.
    fn takes(&self, from: usize, to: usize, prompt: &[u32]) -> Duration {
        let tokens = prompt.len() - self.engines[to].cached(prompt).min(prompt.len());
        let zone = |engine| self.cluster.zone_of_engine(engine);
        let rate = LINK_BYTES[usize::from(zone(from) != zone(to))];
        Duration::from_secs_f64(tokens as f64 * TOKEN_BYTES / rate)
    }
}
