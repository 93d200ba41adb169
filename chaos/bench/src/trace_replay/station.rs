//! One engine in virtual time: the pure model, its metrics page, and when its next step ends.
//!
//! Must not know replicas.

use std::time::Duration;

use murmuration::fleet::{CacheGeometry, LoadReport};
use murmuration::time::Timestamp;

use murmuration_engine_sim::EngineConfig;
use murmuration_engine_sim::model::{EngineModel, Gauges, Output, Request};

/// An engine and its metrics page.
#[derive(Debug)]
pub struct Station {
    model: EngineModel,
    page: Gauges,
}

// === impl Station ===

impl Station {
    /// An engine that was just started, and whose steps are this many times as long as its configuration says.
    pub fn new(config: EngineConfig, slowness: f64) -> Self {
        let mut model = EngineModel::new(config);
        model.slow_down(slowness);
        Self { model, page: Gauges::default() }
    }

    /// Takes a request. Returns the end of the step that begins with it, or `None` if a step is already running.
    pub fn submit(&mut self, request: Request, now: Timestamp) -> Option<Timestamp> {
        let idle = self.model.next_event().is_none();
        // The queue has no bound here, so no request is refused.
        let taken = self.model.submit(request, now).is_ok();
        self.model.next_event().filter(|_| idle && taken)
    }

    /// Takes a request whose prompt another engine computed, with its KV. Returns the same.
    pub fn receive(&mut self, request: Request, now: Timestamp) -> Option<Timestamp> {
        let idle = self.model.next_event().is_none();
        let tokens = request.tokens.len();
        let taken = self.model.receive(request, tokens, now).is_ok();
        self.model.next_event().filter(|_| idle && taken)
    }

    /// Tokens of the request's prompt that are not in its cache.
    pub fn lacks(&self, request: &Request) -> usize {
        request.tokens.len() - self.model.cached_tokens(&request.tokens, None, None)
    }

    /// Ends the step that is due at `now`. Returns its outputs, and when the next one ends.
    pub fn step(&mut self, now: Timestamp) -> (Vec<Output>, Option<Timestamp>) {
        let outputs = self.model.advance(now);
        self.page = self.model.gauges();
        (outputs, self.model.next_event())
    }

    /// What the metrics page shows: as in vLLM, the state at the end of the last engine step.
    pub fn page(&self) -> LoadReport {
        let gauges = &self.page;
        let config = self.model.config();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        LoadReport {
            waiting: count(gauges.waiting),
            running: count(gauges.running),
            kv_usage: gauges.kv_usage.clamp(0.0, 1.0),
            cache: Some(CacheGeometry { block_tokens: count(config.block_tokens), blocks: config.blocks as u64 }),
            awake: true,
            ..LoadReport::default()
        }
    }

    /// Requests that it has now.
    pub fn requests(&self) -> usize {
        let gauges = self.model.gauges();
        gauges.waiting + gauges.running
    }

    /// The time that it computed, without what a step takes that computes nothing.
    pub fn work(&self) -> Duration {
        self.model.counters().work
    }

    /// How often a request lost its blocks to others.
    pub fn preemptions(&self) -> u64 {
        self.model.counters().preemptions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace_replay::plan::engine;

    #[test]
    fn a_page_that_is_written_by_steps_shows_a_burst_a_step_late() {
        let request = |id| Request { id, tokens: vec![1; 100], adapter: None, salt: None, max_tokens: 5 };
        let mut station = Station::new(engine(100_000), 1.0);
        let end = station.submit(request(1), Timestamp::ZERO);
        assert!(end.is_some() && station.submit(request(2), Timestamp::ZERO).is_none());
        let before = station.page();
        station.step(end.unwrap_or_default());
        assert_eq!((before.running + before.waiting, station.page().running), (0, 2));
    }
}
