//! Requests whose prompt is computed on another engine: which engines serve them, and when the KV arrives.
//!
//! Must not know how engines compute or how a pair is chosen. A transfer takes the bytes of the tokens that the engine
//! that decodes does not hold, at the rate of its link; transfers to one engine follow each other. Blocks of the engine
//! that prefills are free as soon as it is done, which an engine that waits for the transfer's end would not do.

use std::time::Duration;

use murmuration::time::Timestamp;

use super::plan::Pairs;

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The engine that decodes.
    pub decode: usize,
    /// The one that computes the prompt for it, if any does.
    pub prefill: Option<usize>,
}

/// What an engine does of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// The prompt, for another engine.
    Prompt,
    /// The answer, to a prompt that another engine computed.
    Answer,
}

/// The routes of all requests, and the links of all engines.
#[derive(Debug)]
pub struct Legs {
    pairs: Option<Pairs>,
    routes: Vec<Option<Route>>,
    /// Prompt tokens that the engine that prefills found in its cache, by request.
    cached: Vec<u64>,
    /// When each engine's link is free.
    links: Vec<Timestamp>,
}

// === impl Legs ===

impl Legs {
    /// Nothing is routed yet, and all links are free.
    pub fn new(pairs: Option<Pairs>, requests: usize, engines: usize) -> Self {
        let links = vec![Timestamp::ZERO; engines];
        Self { pairs, routes: vec![None; requests], cached: vec![0; requests], links }
    }

    /// Remembers a route. Returns the engine that the request goes to first, and what that does.
    pub fn begin(&mut self, request: usize, route: Route) -> (usize, Part) {
        self.routes[request] = Some(route);
        route.prefill.map_or((route.decode, Part::Whole), |prefill| (prefill, Part::Prompt))
    }

    /// The engine that answers, if `engine` computed the prompt for it and found `cached` tokens in its cache.
    pub fn prompt_done(&mut self, request: usize, engine: usize, cached: u64) -> Option<usize> {
        let Route { decode, prefill } = self.routes[request]?;
        prefill.filter(|prefill| *prefill == engine && *prefill != decode)?;
        self.cached[request] = cached;
        Some(decode)
    }

    /// When the KV of `tokens` tokens has arrived at `engine`.
    pub fn transferred(&mut self, engine: usize, tokens: usize, now: Timestamp) -> Timestamp {
        let seconds = self.pairs.map_or(0.0, |pairs| tokens as f64 * pairs.kv_bytes_per_token / pairs.bytes_per_s);
        let end = self.links[engine].max(now) + Duration::from_secs_f64(seconds);
        self.links[engine] = end;
        end
    }

    /// Prompt tokens that nobody computed, if the engine that answers found `own` in its cache.
    pub fn cached(&self, request: usize, own: u64) -> u64 {
        match self.routes[request].and_then(|route| route.prefill) {
            Some(_) => self.cached[request],
            None => own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfers_to_one_engine_follow_each_other() {
        let pairs = Pairs { prefillers: 1, kv_bytes_per_token: 1e5, bytes_per_s: 1e9 };
        let mut legs = Legs::new(Some(pairs), 1, 3);
        let at = Timestamp::from_millis;
        assert_eq!(legs.transferred(1, 1_000, at(50)), at(150));
        assert_eq!(legs.transferred(1, 1_000, at(60)), at(250));
        assert_eq!(legs.transferred(2, 1_000, at(60)), at(160));
    }

    #[test]
    fn a_prompt_is_done_where_it_was_computed_and_only_there() {
        let mut legs = Legs::new(None, 2, 3);
        assert_eq!(legs.begin(0, Route { decode: 1, prefill: Some(2) }), (2, Part::Prompt));
        assert_eq!((legs.prompt_done(0, 2, 512), legs.prompt_done(0, 1, 0)), (Some(1), None));
        assert_eq!(legs.begin(1, Route { decode: 1, prefill: None }), (1, Part::Whole));
        assert_eq!((legs.prompt_done(1, 1, 512), legs.cached(0, 7), legs.cached(1, 7)), (None, 512, 7));
    }
}
