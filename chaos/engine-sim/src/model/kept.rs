//! Blocks that an engine keeps for another one: a prompt that was computed for it, until it is read or the lease ends.
//!
//! Must not know who reads them.

use std::collections::BTreeMap;
use std::time::Duration;

use murmuration::time::Timestamp;

use super::cache::Held;
use super::sequence::Sequence;

/// How long blocks are kept. vLLM's lease is ten times as long; runs of the model are short.
pub const LEASE: Duration = Duration::from_secs(3);

/// KV of the beginning of a prompt, as another engine gives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Its tokens.
    pub tokens: usize,
    /// 0 if it is the KV of these tokens; else a number of what it is instead.
    pub taint: u64,
}

/// What is kept, by the ids of the requests that computed it.
#[derive(Debug, Default)]
pub(super) struct Kept {
    leases: BTreeMap<u64, Lease>,
}

#[derive(Debug)]
struct Lease {
    blocks: Held,
    kv: Received,
    until: Timestamp,
}

// === impl Received ===

impl Received {
    /// What of it is of the prompt of `sequence`.
    pub(super) fn of(self, sequence: &Sequence) -> Self {
        Self { tokens: self.tokens.min(sequence.tokens.len()), ..self }
    }
}

// === impl Kept ===

impl Kept {
    /// Keeps the blocks of a request that ended at `end`. Returns those of an earlier one with its id.
    pub(super) fn keep(&mut self, sequence: &Sequence, end: Timestamp) -> Option<Held> {
        let kv = Received { tokens: sequence.prompt, taint: sequence.taint };
        let lease = Lease { blocks: sequence.blocks.clone(), kv, until: end + LEASE };
        self.leases.insert(sequence.id(), lease).map(|earlier| earlier.blocks)
    }

    /// What is kept of this request.
    pub(super) fn of(&self, id: u64) -> Option<Received> {
        self.leases.get(&id).map(|lease| lease.kv)
    }

    /// Ends a lease; the blocks, if there was one.
    pub(super) fn end(&mut self, id: u64) -> Option<Held> {
        self.leases.remove(&id).map(|lease| lease.blocks)
    }

    /// The blocks of one lease that has ended by `now`.
    pub(super) fn expire(&mut self, now: Timestamp) -> Option<Held> {
        let id = self.leases.iter().find(|(_, lease)| lease.until <= now).map(|(id, _)| *id)?;
        self.end(id)
    }

    /// When the next lease ends.
    pub(super) fn next_end(&self) -> Option<Timestamp> {
        self.leases.values().map(|lease| lease.until).min()
    }
}
