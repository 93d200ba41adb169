//! A prompt that one engine computes and another one answers: the prefill leg keeps its blocks, the decode leg waits for
//! them to arrive.
//!
//! Must not know links or how long a transfer takes. As in vLLM, whoever reads blocks whose lease has ended gets those of
//! others, without an error, and the wrong blocks are found by later prompts.

use murmuration::chance::mix;
use murmuration::time::Timestamp;

use super::sequence::Sequence;
use super::{Busy, EngineModel, Received, Request};
use crate::EngineConfig;

impl EngineModel {
    /// Takes a request into the queue, and keeps its blocks for another engine when it ends, for [`super::LEASE`].
    ///
    /// # Errors
    /// [`Busy`] when the queue is full.
    pub fn submit_kept(&mut self, request: Request, now: Timestamp) -> Result<(), Busy> {
        let mut sequence = self.sequence(request)?;
        sequence.keeps = true;
        self.queue(sequence, now);
        Ok(())
    }

    /// What is kept of a request; `None` once it was released or its lease has ended.
    pub fn kept(&self, id: u64) -> Option<Received> {
        self.kept.of(id)
    }

    /// What a reader gets who was promised `tokens` tokens of a request: what is kept of it, or the blocks of others.
    pub fn read_kept(&self, id: u64, tokens: usize) -> Received {
        self.kept(id).unwrap_or(Received { tokens, taint: mix(id).max(1) })
    }

    /// Frees the blocks that were kept of a request: they were read.
    pub fn release_kept(&mut self, id: u64) {
        if let Some(blocks) = self.kept.end(id) {
            self.cache.release(&blocks);
        }
    }

    /// Takes a request whose KV is on its way from another engine. It counts as waiting.
    ///
    /// # Errors
    /// [`Busy`] when the queue is full.
    pub fn expect(&mut self, request: Request) -> Result<(), Busy> {
        let sequence = self.sequence(request)?;
        self.pulling.insert(sequence.id(), sequence);
        Ok(())
    }

    /// The KV of a request has arrived, or nothing will: then its prompt is computed here.
    pub fn arrived(&mut self, id: u64, received: Option<Received>, now: Timestamp) {
        let Some(mut sequence) = self.pulling.remove(&id) else { return };
        sequence.received = received.unwrap_or_default().of(&sequence);
        self.queue(sequence, now);
    }
}

/// The answer of an engine that has the KV of the request's own prompt.
pub fn right_answer(request: Request, config: &EngineConfig) -> impl Iterator<Item = u32> + use<> {
    let tokens = request.max_tokens;
    let mut sequence = Sequence::new(request, config.block_tokens);
    (0..tokens).map(move |_| sequence.generate())
}

#[cfg(test)]
#[path = "hand_over_tests.rs"]
mod tests;
