//! The decision alone: the pure scheduler of a pool in this process, without actors, sockets or clocks.
//!
//! Prompts are conversations. A quarter of their blocks is a system prompt that all share. Up to half is the history of
//! the conversation, held by the endpoint that served it. The rest is new. `turns` repeat the whole history. `branches`
//! leave it at a random block, which cuts the index into runs of a single block, its worst case. So each decision walks
//! an index that is full of other prompts, and each reservation evicts something. `pairs` are turns in a pool of which
//! one half prefills and the other decodes, in two zones, with pairs by price.
//!
//! Must not know how the scheduler decides; it gets the inputs that a replica would give it.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use murmuration::chance::{Chance, mix};
use murmuration::config;
use murmuration::fleet::{CacheGeometry, Endpoint, EndpointChange, LoadReport, Observation};
use murmuration::id::{BlockHash, EndpointId, Ticket};
use murmuration::prefix::PrefixChain;
use murmuration::request::{Asked, InferenceRequest, Outcome, Prompt};
use murmuration::scheduler::{Input, News, Outbox, Scheduler};
use murmuration::time::Timestamp;
use tokio::time::Instant;

use super::args::DecisionArgs;
use super::spread::Spread;
use super::table::{Cell, Table};
use super::{Failure, pool};

/// Time between two requests.
const STEP: Duration = Duration::from_millis(1);
/// Requests between two rounds of reports; with [`STEP`] this is the interval of a replica's scrapes.
const REPORT_EVERY: u64 = 50;
/// Requests in flight at each endpoint.
const OPEN_PER_ENDPOINT: u64 = 8;
/// Conversations for each endpoint of the pool.
const CONVERSATIONS_PER_ENDPOINT: usize = 4;
/// The KV cache that each engine reports: 2 million tokens, an 80 GB card with an 8B model and a little more.
const CACHE: CacheGeometry = CacheGeometry { block_tokens: 16, blocks: 125_000 };

/// How a prompt continues its conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prompts {
    Turns,
    Branches,
    Pairs,
}

/// Pairs by price.
const PAIRS: &str = include_str!("../../../deploy/config/pair.yaml");

/// What was measured of a pool.
struct Measured {
    decide_us: Spread,
    reserve_us: Spread,
    matched_share: f64,
}

/// A pool of endpoints with its scheduler.
pub(super) struct Pool {
    prompts: Prompts,
    pub(super) scheduler: Scheduler,
    pub(super) outbox: Outbox,
    chance: Chance,
    pub(super) endpoints: Vec<EndpointId>,
    blocks: usize,
    block_tokens: u32,
    pub(super) asked: u64,
    /// Sum over all requests of the prompt share that the chosen endpoint was believed to hold.
    matched: f64,
}

/// Measures all pairs of endpoints and blocks.
pub(super) fn run(args: &DecisionArgs) -> Result<Table, Failure> {
    let columns = [
        "prompts",
        "endpoints",
        "blocks",
        "decide_p50_us",
        "decide_p99_us",
        "with_reserve_p50_us",
        "with_reserve_p99_us",
        "matched_share",
    ];
    let mut table = Table::new("decision", &columns).about("decisions", args.decisions);
    for prompts in [Prompts::Turns, Prompts::Branches, Prompts::Pairs] {
        for &endpoints in &args.endpoints {
            for &blocks in &args.blocks {
                let measured = Pool::new(prompts, endpoints, blocks)?.measure(args.decisions)?;
                table.row(measured.row(prompts, endpoints, blocks));
            }
        }
    }
    Ok(table)
}

// === impl Measured ===

impl Measured {
    fn row(&self, prompts: Prompts, endpoints: u16, blocks: usize) -> Vec<Cell> {
        let us = [self.decide_us.p50, self.decide_us.p99, self.reserve_us.p50, self.reserve_us.p99];
        let mut row = vec![Cell::Word(format!("{prompts:?}").to_lowercase())];
        row.extend([Cell::Count(u64::from(endpoints)), Cell::Count(blocks as u64)]);
        row.extend(us.map(|us| Cell::Figure(us, 1)));
        row.push(Cell::Figure(self.matched_share, 2));
        row
    }
}

// === impl Pool ===

impl Pool {
    pub(super) fn new(prompts: Prompts, endpoints: u16, blocks: usize) -> Result<Self, Failure> {
        let config = if prompts == Prompts::Pairs { PAIRS } else { config::default_text() };
        let (mut scheduler, prefix) = pool::scheduler(config, pool::INDEX_BYTES_MAX)?;
        let block_tokens = prefix.block_tokens;
        let mut endpoints: Vec<Endpoint> = (0..endpoints).map(endpoint).collect();
        if prompts == Prompts::Pairs {
            endpoints.iter_mut().enumerate().for_each(|(n, endpoint)| endpoint.labels = labels(n));
        }
        let changes = endpoints.iter().cloned().map(EndpointChange::Upsert).collect();
        let mut outbox = Outbox::default();
        scheduler.handle(Input::Discovered(changes), Timestamp::ZERO, &mut outbox);
        let chance = Chance::from_seed(1);
        let endpoints = endpoints.into_iter().map(|endpoint| endpoint.id).collect();
        Ok(Self { prompts, scheduler, outbox, chance, endpoints, blocks, block_tokens, asked: 0, matched: 0.0 })
    }

    /// Times half of the decisions alone, and the other half with their reservation, because a repeated decision would
    /// find warm caches.
    fn measure(&mut self, decisions: usize) -> Result<Measured, Failure> {
        for _ in 0..decisions / 2 {
            self.request(|scheduler, asked, now, outbox| scheduler.handle(Input::Asked(asked), now, outbox))?;
        }
        self.matched = 0.0;
        let (mut alone, mut reserved) = (Vec::with_capacity(decisions), Vec::with_capacity(decisions));
        for _ in 0..decisions {
            self.request(|scheduler, asked, now, outbox| {
                let began = Instant::now();
                let decided = black_box(scheduler.decide(&asked.request, now));
                alone.push(began.elapsed().as_secs_f64() * 1e6);
                drop(decided);
                scheduler.handle(Input::Asked(asked), now, outbox);
            })?;
            self.request(|scheduler, asked, now, outbox| {
                let began = Instant::now();
                scheduler.handle(Input::Asked(asked), now, outbox);
                reserved.push(began.elapsed().as_secs_f64() * 1e6);
            })?;
        }
        let matched_share = self.matched / (2 * decisions.max(1)) as f64;
        Ok(Measured { decide_us: Spread::of(alone), reserve_us: Spread::of(reserved), matched_share })
    }

    /// Makes one request and ends an older one; `ask` passes the request to the scheduler.
    pub(super) fn request(
        &mut self,
        mut ask: impl FnMut(&mut Scheduler, Asked, Timestamp, &mut Outbox),
    ) -> Result<(), Failure> {
        let now = Timestamp::ZERO + STEP * (u32::try_from(self.asked).unwrap_or(u32::MAX));
        if self.asked.is_multiple_of(REPORT_EVERY) {
            self.report(now);
        }
        let asked = Asked::new(Ticket(self.asked), self.conversation());
        self.asked += 1;
        ask(&mut self.scheduler, asked, now, &mut self.outbox);
        match self.outbox.answers.pop() {
            Some((_, Ok(decision))) => self.matched += decision.primary().map_or(0.0, |to| to.matched.ratio()),
            Some((_, Err(refusal))) => return Err(format!("the pool refused a request: {}", refusal.sentence)),
            None => return Err("the pool did not answer a request".to_owned()),
        }
        if let Some(oldest) = self.asked.checked_sub(OPEN_PER_ENDPOINT * self.endpoints.len() as u64 + 1) {
            let ended = Input::TicketUpdate(Ticket(oldest), News::Finished(Outcome::Completed));
            self.scheduler.handle(ended, now, &mut self.outbox);
        }
        self.outbox.events.clear();
        Ok(())
    }

    pub(super) fn report(&mut self, now: Timestamp) {
        for endpoint in &self.endpoints {
            let report = LoadReport {
                waiting: self.chance.below(3) as u32,
                running: 4 + self.chance.below(9) as u32,
                kv_usage: 0.3 + 0.4 * self.chance.unit(),
                cache: Some(CACHE),
                awake: true,
                ..LoadReport::default()
            };
            let observation = Observation { report, age: Duration::from_millis(2) };
            self.scheduler.handle(Input::Observed(endpoint.clone(), observation), now, &mut self.outbox);
        }
        self.outbox.events.clear();
    }

    /// The next turn of a random conversation, as a request of its own.
    pub(super) fn next_conversation(&mut self) -> InferenceRequest {
        self.asked += 1;
        self.conversation()
    }

    /// The next turn of a random conversation.
    pub(super) fn conversation(&mut self) -> InferenceRequest {
        let conversations = self.endpoints.len() * CONVERSATIONS_PER_ENDPOINT;
        let conversation = 1 + self.chance.below(conversations) as u64;
        let (system, history) = (self.blocks / 4, self.blocks / 2);
        let before = match self.prompts {
            Prompts::Turns | Prompts::Pairs => system + history,
            Prompts::Branches => system + self.chance.below(history + 1),
        };
        let hash = |block: usize| {
            let owner = match block {
                _ if block < system => 0,
                _ if block < before => conversation,
                _ => 1_000_000 + self.asked,
            };
            BlockHash(mix(mix(owner) ^ block as u64))
        };
        let chain = PrefixChain::from_blocks(self.block_tokens, (0..self.blocks).map(hash).collect());
        let tokens = self.blocks as u64 * u64::from(self.block_tokens);
        InferenceRequest {
            id: format!("{:032x}", self.asked),
            incoming_model: "base".to_owned(),
            target_model: "base".to_owned(),
            prompt: Prompt::estimated(tokens, 0, chain),
            content_hash: mix(self.asked),
            streaming: true,
            body_bytes: tokens * 4,
            fairness_id: "default-flow".to_owned(),
            sees_response: true,
            ..InferenceRequest::default()
        }
    }
}

/// The role and the zone of endpoint `n`.
fn labels(n: usize) -> BTreeMap<String, String> {
    let role = if n.is_multiple_of(2) { "decode" } else { "prefill" };
    let zone = if n % 4 < 2 { "a" } else { "b" };
    [("llm-d.ai/role", role), ("topology.kubernetes.io/zone", zone)]
        .map(|(label, value)| (label.to_owned(), value.to_owned()))
        .into()
}

/// The address of endpoint `n`.
pub(super) fn address(n: u16) -> SocketAddr {
    ([10, 0, (n >> 8) as u8, n as u8], 8000).into()
}

/// Endpoint `n`.
pub(super) fn endpoint(n: u16) -> Endpoint {
    Endpoint { id: EndpointId::new("bench", &format!("vllm-{n:04}")), address: address(n), labels: BTreeMap::new() }
}
