//! The model of an engine: a queue, a batch that is stepped, and a paged prefix cache.
//!
//! Must not know clocks, sockets or text. The same requests at the same times give the same outputs.

mod cache;
mod hand_over;
mod kept;
mod sequence;
mod steps;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use murmuration::time::Timestamp;

use crate::EngineConfig;
pub use cache::BlockCache;
pub use hand_over::right_answer;
use kept::Kept;
pub use kept::{LEASE, Received};
use sequence::Sequence;

/// A request to an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The caller's name for it, unique among open requests.
    pub id: u64,
    /// The prompt.
    pub tokens: Vec<u32>,
    /// The LoRA adapter asked for.
    pub adapter: Option<String>,
    /// `cache_salt`.
    pub salt: Option<String>,
    /// Tokens of the answer.
    pub max_tokens: usize,
}

/// One token of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The id of its request.
    pub id: u64,
    /// When it was computed.
    pub at: Timestamp,
    /// When its request moved from the queue into the batch.
    pub admitted: Timestamp,
    /// The answer's next token.
    pub token: u32,
    /// How many tokens came before it.
    pub index: usize,
    /// Prompt tokens that were found in the cache.
    pub cached_tokens: usize,
    /// How often its request lost its blocks to others until now.
    pub preemptions: u32,
    /// Whether this is the last one.
    pub finished: bool,
}

/// The queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// What the metrics page shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gauges {
    /// Requests in the queue.
    pub waiting: usize,
    /// Requests in the batch.
    pub running: usize,
    /// Share of blocks held by live requests.
    pub kv_usage: f64,
    /// Adapters of running requests.
    pub running_adapters: Vec<String>,
    /// Adapters of waiting requests.
    pub waiting_adapters: Vec<String>,
}

/// Totals since the engine started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Prompt tokens looked up in the cache.
    pub prefix_queries: u64,
    /// Prompt tokens found there.
    pub prefix_hits: u64,
    /// Prompt tokens whose KV another engine computed, beyond those found in the cache.
    pub received: u64,
    /// Prompt tokens of admitted requests.
    pub prompt_tokens: u64,
    /// Answer tokens.
    pub generation_tokens: u64,
    /// Requests that finished.
    pub finished: u64,
    /// Requests that were aborted.
    pub aborted: u64,
    /// Requests that a full queue rejected.
    pub rejected: u64,
    /// How often a request lost its blocks to others.
    pub preemptions: u64,
    /// The time of all steps, without what a step takes that computes nothing, at the speed of an engine that is not
    /// slowed down.
    pub work: Duration,
}

/// The model of an engine.
#[derive(Debug)]
pub struct EngineModel {
    config: EngineConfig,
    cache: BlockCache,
    waiting: VecDeque<Sequence>,
    running: Vec<Sequence>,
    /// Requests whose KV another engine computed and which has not arrived yet, by their ids.
    pulling: BTreeMap<u64, Sequence>,
    /// Blocks that are kept for other engines.
    kept: Kept,
    /// When the current step ends; `None` while there is nothing to do.
    step_ends: Option<Timestamp>,
    slowness: f64,
    counters: Counters,
}

// === impl EngineModel ===

impl EngineModel {
    /// An engine that was just started.
    pub fn new(config: EngineConfig) -> Self {
        // vLLM never gives its block 0 away.
        let cache = BlockCache::new(config.blocks.saturating_sub(1).max(1));
        let (waiting, running) = (VecDeque::new(), Vec::new());
        Self {
            config,
            cache,
            waiting,
            running,
            pulling: BTreeMap::new(),
            kept: Kept::default(),
            step_ends: None,
            slowness: 1.0,
            counters: Counters::default(),
        }
    }

    /// Its configuration.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Takes a request into the queue.
    ///
    /// # Errors
    /// [`Busy`] when the queue is full.
    pub fn submit(&mut self, request: Request, now: Timestamp) -> Result<(), Busy> {
        let sequence = self.sequence(request)?;
        self.queue(sequence, now);
        Ok(())
    }

    /// Takes a request into the queue together with the KV of its first `tokens` tokens, which another engine computed.
    /// Only the last token of the prompt is always computed here, because the next one follows from it. If the request
    /// loses its blocks to others, what was received is lost too.
    ///
    /// # Errors
    /// [`Busy`] when the queue is full.
    pub fn receive(&mut self, request: Request, tokens: usize, now: Timestamp) -> Result<(), Busy> {
        let mut sequence = self.sequence(request)?;
        sequence.received = Received { tokens, taint: 0 }.of(&sequence);
        self.queue(sequence, now);
        Ok(())
    }

    /// The request as one that is not computed yet, if the queue has room.
    fn sequence(&mut self, request: Request) -> Result<Sequence, Busy> {
        if self.config.max_num_queued.is_some_and(|most| self.waiting.len() >= most) {
            self.counters.rejected += 1;
            return Err(Busy);
        }
        Ok(Sequence::new(request, self.config.block_tokens))
    }

    fn queue(&mut self, sequence: Sequence, now: Timestamp) {
        self.waiting.push_back(sequence);
        if self.step_ends.is_none() {
            self.begin_step(now);
        }
    }

    /// Aborts a request; its blocks are free at once.
    pub fn abort(&mut self, id: u64) {
        let open = self.open();
        self.pulling.remove(&id);
        self.waiting.retain(|sequence| sequence.id() != id);
        if let Some(at) = self.running.iter().position(|sequence| sequence.id() == id) {
            let sequence = self.running.remove(at);
            self.cache.release(&sequence.blocks);
        }
        self.counters.aborted += (open - self.open()) as u64;
    }

    fn open(&self) -> usize {
        self.waiting.len() + self.running.len() + self.pulling.len()
    }

    /// Runs all steps that end by `now`, and returns their outputs in order.
    pub fn advance(&mut self, now: Timestamp) -> Vec<Output> {
        let mut outputs = Vec::new();
        while let Some(at) = self.next_event().filter(|at| *at <= now) {
            if let Some(blocks) = self.kept.expire(at) {
                self.cache.release(&blocks);
            } else {
                self.end_step(at, &mut outputs);
                self.begin_step(at);
            }
        }
        outputs
    }

    /// When the current step or the next lease of blocks ends; `None` while there is nothing to do.
    pub fn next_event(&self) -> Option<Timestamp> {
        [self.step_ends, self.kept.next_end()].into_iter().flatten().min()
    }

    /// Tokens that the current step computes, prompts and answers together.
    pub fn step_tokens(&self) -> usize {
        self.running.iter().map(|sequence| sequence.chunk).sum()
    }

    /// Makes every step this many times as long.
    pub fn slow_down(&mut self, slowness: f64) {
        self.slowness = slowness.max(0.01);
    }

    /// What the metrics page shows.
    pub fn gauges(&self) -> Gauges {
        let adapters = |sequences: &mut dyn Iterator<Item = &Sequence>| -> Vec<String> {
            let names: BTreeMap<&str, ()> =
                sequences.filter_map(|s| Some((s.request.adapter.as_deref()?, ()))).collect();
            names.into_keys().map(str::to_owned).collect()
        };
        Gauges {
            waiting: self.waiting.len() + self.pulling.len(),
            running: self.running.len(),
            kv_usage: self.cache.held() as f64 / self.cache.total() as f64,
            running_adapters: adapters(&mut self.running.iter()),
            waiting_adapters: adapters(&mut self.waiting.iter().chain(&self.running)),
        }
    }

    /// Totals since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The prefix cache.
    pub fn cache(&self) -> &BlockCache {
        &self.cache
    }

    /// Tokens of `tokens` that would be found in the cache now.
    pub fn cached_tokens(&self, tokens: &[u32], adapter: Option<&str>, salt: Option<&str>) -> usize {
        let chain = sequence::chain(tokens, adapter, salt, self.config.block_tokens);
        self.cache.matched(&chain) * self.config.block_tokens
    }
}

#[cfg(test)]
mod recorded_tests;
#[cfg(test)]
mod tests;
