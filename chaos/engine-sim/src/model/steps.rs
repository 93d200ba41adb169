//! Continuous batching: what one step computes, how long it takes, and which tokens it outputs.
//!
//! Must not know how requests arrive.

use std::collections::BTreeSet;

use murmuration::time::Timestamp;

use super::{EngineModel, Output};

impl EngineModel {
    /// Begins a step at `now`. Without requests there is no step.
    pub(super) fn begin_step(&mut self, now: Timestamp) {
        let mut budget = self.config.max_batched_tokens;
        let mut answering = 0usize;
        for sequence in &mut self.running {
            sequence.answering = sequence.computed >= sequence.request.tokens.len();
            answering += usize::from(sequence.answering);
        }
        budget = budget.saturating_sub(answering);
        let mut prefill = self.give_chunks(0, &mut budget);
        prefill += self.admit(now, &mut budget);
        if self.running.is_empty() {
            self.step_ends = None;
            return;
        }
        let compute = prefill as f64 / self.config.prefill_tokens_per_s;
        let answers = self.config.step_per_seq.mul_f64(answering as f64);
        let span = (self.config.step_base + answers).as_secs_f64() + compute;
        self.step_ends = Some(now + std::time::Duration::from_secs_f64(span * self.slowness));
    }

    /// Ends the current step: prompts advance, answers grow by one token.
    pub(super) fn end_step(&mut self, end: Timestamp, outputs: &mut Vec<Output>) {
        let block_tokens = self.config.block_tokens;
        for sequence in &mut self.running {
            sequence.computed += std::mem::take(&mut sequence.chunk);
            let prompt = sequence.request.tokens.len();
            // The step that computes a prompt's last token gives the answer's first.
            if sequence.answering || sequence.computed >= prompt {
                let index = sequence.generated();
                let token = sequence.generate();
                let finished = index + 1 >= sequence.request.max_tokens;
                let (id, admitted, cached_tokens) = (sequence.id(), sequence.admitted, sequence.cached);
                outputs.push(Output { id, at: end, admitted, token, index, cached_tokens, finished });
                self.counters.generation_tokens += 1;
            }
            if self.config.prefix_caching {
                let known = sequence.computed.max(if sequence.computed >= prompt { sequence.tokens.len() } else { 0 });
                self.cache.share(&mut sequence.blocks, &sequence.chain, known / block_tokens);
            }
        }
        let (cache, counters) = (&mut self.cache, &mut self.counters);
        self.running.retain(|sequence| {
            let over = sequence.generated() >= sequence.request.max_tokens.max(1);
            if over {
                cache.release(&sequence.blocks);
                counters.finished += 1;
            }
            !over
        });
    }

    /// Gives the prompts from index `from` on their share of the step's budget. Returns the tokens given.
    fn give_chunks(&mut self, from: usize, budget: &mut usize) -> usize {
        let mut given = 0;
        for sequence in &mut self.running[from..] {
            let rest = sequence.request.tokens.len().saturating_sub(sequence.computed);
            sequence.chunk = rest.min(*budget);
            *budget -= sequence.chunk;
            given += sequence.chunk;
        }
        given
    }

    /// Admits the head of the queue while there is room in the batch, the step, the cache and the adapter slots.
    /// Returns the prompt tokens that this adds to the step.
    fn admit(&mut self, now: Timestamp, budget: &mut usize) -> usize {
        let mut given = 0;
        while *budget > 0 && self.running.len() < self.config.max_num_seqs {
            let Some(next) = self.waiting.front() else { break };
            if !self.adapter_fits(next.request.adapter.as_deref()) {
                break;
            }
            let matched = if self.config.prefix_caching { self.cache.matched(&next.chain) } else { 0 };
            // The last prompt token is always computed, because the first answer token follows from it.
            let most = next.request.tokens.len().saturating_sub(1) / self.config.block_tokens;
            let matched = matched.min(most);
            let needed = next.blocks_needed().min(self.config.blocks);
            let Some(held) = self.cache.take(&next.chain, matched, needed) else { break };
            let Some(mut sequence) = self.waiting.pop_front() else { break };
            sequence.blocks = held;
            sequence.admitted = now;
            sequence.cached = matched * self.config.block_tokens;
            sequence.computed = sequence.cached;
            self.counters.prompt_tokens += sequence.request.tokens.len() as u64;
            self.counters.prefix_queries += sequence.request.tokens.len() as u64;
            self.counters.prefix_hits += sequence.cached as u64;
            self.running.push(sequence);
            given += self.give_chunks(self.running.len() - 1, budget);
        }
        given
    }

    fn adapter_fits(&self, adapter: Option<&str>) -> bool {
        let Some(adapter) = adapter else { return true };
        let running: BTreeSet<&str> = self.running.iter().filter_map(|s| s.request.adapter.as_deref()).collect();
        running.contains(adapter) || running.len() < self.config.max_loras
    }
}
