//! Continuous batching: what one step computes, how long it takes, and which tokens it outputs.
//!
//! The rules are those of vLLM's V1 scheduler. Running requests come first, in their order; where blocks are missing,
//! the last one gives its own up and is computed again later. Then the queue's head is admitted, as long as tokens,
//! places and blocks for its whole prompt are left. A long prompt is computed in chunks, beside the answers of others.
//!
//! Must not know how requests arrive.

use std::collections::BTreeSet;
use std::time::Duration;

use murmuration::time::Timestamp;

use super::sequence::Sequence;
use super::{EngineModel, Output};
use crate::EngineConfig;

/// What a step computes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct StepWork {
    /// Tokens of prompts, and of requests that are computed again.
    pub(super) prefill: usize,
    /// For each of these, the tokens before it, summed.
    pub(super) attended: f64,
    /// Requests that get their next token.
    pub(super) answering: usize,
    /// Tokens of their contexts.
    pub(super) context: usize,
}

impl EngineModel {
    /// Begins a step at `now`. Without requests there is no step.
    pub(super) fn begin_step(&mut self, now: Timestamp) {
        let mut budget = self.config.max_num_batched_tokens;
        let preempted = self.continue_running(&mut budget);
        if !preempted {
            self.admit(now, &mut budget);
        }
        if self.running.is_empty() {
            self.step_ends = None;
            return;
        }
        let mut work = StepWork::default();
        self.running.iter().for_each(|sequence| work.add(sequence));
        let span = work.span(&self.config);
        self.counters.work += span.saturating_sub(self.config.step_base);
        self.step_ends = Some(now + span.mul_f64(self.slowness));
    }

    /// Ends the current step: who has all of its prompt computed gets the next token.
    pub(super) fn end_step(&mut self, end: Timestamp, outputs: &mut Vec<Output>) {
        for sequence in self.running.iter_mut().filter(|sequence| sequence.chunk > 0) {
            sequence.computed += std::mem::take(&mut sequence.chunk);
            if sequence.rest() == 0 {
                let index = sequence.generated();
                let token = sequence.generate();
                let finished = index + 1 >= sequence.request.max_tokens;
                let (id, cached_tokens, preemptions) = (sequence.id(), sequence.cached, sequence.preemptions);
                let admitted = sequence.admitted.unwrap_or(end);
                outputs.push(Output { id, at: end, admitted, token, index, cached_tokens, preemptions, finished });
                self.counters.generation_tokens += 1;
            }
        }
        let (cache, counters, kept) = (&mut self.cache, &mut self.counters, &mut self.kept);
        self.running.retain(|sequence| {
            let over = sequence.generated() >= sequence.request.max_tokens.max(1);
            if over {
                counters.finished += 1;
                let unkept = if sequence.keeps { kept.keep(sequence, end) } else { Some(sequence.blocks.clone()) };
                unkept.iter().for_each(|blocks| cache.release(blocks));
            }
            !over
        });
    }

    /// Gives running requests their share of the step, in their order. Returns whether one lost its blocks.
    fn continue_running(&mut self, budget: &mut usize) -> bool {
        let before = self.counters.preemptions;
        let mut at = 0;
        while at < self.running.len() {
            let sequence = &mut self.running[at];
            let chunk = sequence.rest().min(*budget);
            let blocks = sequence.blocks_of(sequence.computed + chunk).min(self.cache.total());
            // A request that is alone has all blocks. If it needs more, it goes on without.
            if self.cache.grow(&mut sequence.blocks, blocks) || self.running.len() == 1 {
                self.running[at].chunk = chunk;
                self.share(at);
                *budget -= chunk;
                at += 1;
            } else {
                self.preempt_last();
            }
        }
        self.counters.preemptions > before
    }

    /// What the step will have computed can be found from now on: whoever is admitted in the same step need not
    /// compute it again.
    fn share(&mut self, at: usize) {
        if self.config.prefix_caching {
            let sequence = &mut self.running[at];
            let full = (sequence.computed + sequence.chunk) / self.config.block_tokens;
            self.cache.share(&mut sequence.blocks, &sequence.chain, full, sequence.taint);
        }
    }

    fn preempt_last(&mut self) {
        if let Some(mut last) = self.running.pop() {
            self.cache.release(&last.blocks);
            last.preempted();
            self.waiting.push_front(last);
            self.counters.preemptions += 1;
        }
    }

    /// Admits requests of the queue, from its head, while there is room in the batch, the step and the cache. Those
    /// whose adapter finds no slot are passed over.
    fn admit(&mut self, now: Timestamp, budget: &mut usize) {
        let mut at = 0;
        while *budget > 0 && self.running.len() < self.config.max_num_seqs {
            let Some(next) = self.waiting.get(at) else { break };
            if !self.adapter_fits(next.request.adapter.as_deref()) {
                at += 1;
                continue;
            }
            let matched = if self.config.prefix_caching { self.cache.matched(&next.chain) } else { 0 };
            // The last token is always computed, because the next one follows from it.
            let most = next.tokens.len().saturating_sub(1) / self.config.block_tokens;
            let matched = matched.min(most);
            let needed = next.blocks_of(next.tokens.len()).min(self.cache.total());
            let Some(held) = self.cache.take(&next.chain, matched, needed) else { break };
            let Some(mut sequence) = self.waiting.remove(at) else { break };
            sequence.blocks = held;
            let cached = matched * self.config.block_tokens;
            sequence.computed = cached.max(sequence.received.tokens.min(sequence.tokens.len().saturating_sub(1)));
            let lacked = sequence.received.tokens > cached;
            sequence.taint =
                self.cache.taint(&sequence.chain, matched) ^ if lacked { sequence.received.taint } else { 0 };
            if sequence.admitted.is_none() {
                sequence.admitted = Some(now);
                sequence.cached = cached;
                self.counters.prompt_tokens += sequence.prompt as u64;
                self.counters.prefix_queries += sequence.prompt as u64;
                self.counters.prefix_hits += sequence.cached as u64;
                self.counters.received += sequence.received.tokens.saturating_sub(cached) as u64;
            }
            sequence.chunk = sequence.rest().min(*budget);
            *budget -= sequence.chunk;
            let blocks = sequence.blocks_of(sequence.computed + sequence.chunk).min(needed);
            // There is room for the whole prompt, so there is for a part of it.
            self.cache.grow(&mut sequence.blocks, blocks);
            self.running.push(sequence);
            self.share(self.running.len() - 1);
        }
    }

    fn adapter_fits(&self, adapter: Option<&str>) -> bool {
        let Some(adapter) = adapter else { return true };
        let running: BTreeSet<&str> = self.running.iter().filter_map(|s| s.request.adapter.as_deref()).collect();
        running.contains(adapter) || running.len() < self.config.max_loras
    }
}

// === impl StepWork ===

impl StepWork {
    /// Adds what the step computes for `sequence`.
    fn add(&mut self, sequence: &Sequence) {
        let (before, chunk) = (sequence.computed, sequence.chunk);
        if sequence.is_answering() && chunk == 1 {
            self.answering += 1;
            self.context += before;
        } else {
            self.prefill += chunk;
            self.attended += chunk as f64 * (before as f64 + chunk as f64 / 2.0);
        }
    }

    /// How long the step takes: a sum of what reading the weights, the prompts' tokens and attention, and the answers
    /// and their contexts take.
    pub(super) fn span(&self, config: &EngineConfig) -> Duration {
        let prefill = self.prefill as f64 / config.prefill_tokens_per_s + self.attended * config.attention_ns * 1e-9;
        let answers = config.step_per_seq.mul_f64(self.answering as f64).as_secs_f64();
        let contexts = self.context as f64 * config.context_ns * 1e-9;
        config.step_base + Duration::from_secs_f64(prefill + answers + contexts)
    }
}
