//! Years of endpoint churn in virtual time: three schedulers exchange facts through the real codec, while endpoints
//! with new names replace old ones. What a replica holds must follow the live endpoints.
//!
//! Must not know sockets or clocks: messages arrive at once, and time is counted in steps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use murmuration::chance::mix;
use murmuration::config;
use murmuration::fleet::{Endpoint, EndpointChange, LoadReport, Observation};
use murmuration::id::{BlockHash, EndpointId, Incarnation, ReplicaId, Ticket};
use murmuration::prefix::PrefixChain;
use murmuration::replication::{FactLog, codec};
use murmuration::request::{Asked, InferenceRequest, Outcome, Prompt};
use murmuration::scheduler::{Input, News, Outbox, Scheduler};
use murmuration::time::Timestamp;

use murmuration_kit::machine::memory_kib;

use super::args::ChurnArgs;
use super::table::{Cell, Table};
use super::{Failure, pool};

/// Replicas of the tier.
const REPLICAS: usize = 3;
/// Time between two replacements.
const STEP: Duration = Duration::from_millis(50);
/// Endpoints that are scraped in each step.
const READ_EACH_STEP: usize = 20;
/// Requests that are open at a time.
const OPEN: usize = 60;
/// Steps between two samples of the views.
const SAMPLE_EVERY: u64 = 97;
/// Bytes of each replica's prefix index: small, so that it is full early and what grows is something else.
const INDEX_BYTES_MAX: usize = 4 << 20;
/// The most facts in a batch, as in peer streams.
const FACTS_MAX: usize = 1_024;
/// Ages of reports are counted up to here.
const AGES_MAX_MS: usize = 10_000;

/// One replica, and the number up to which it has sent its facts to each other one.
struct Replica {
    scheduler: Scheduler,
    log: FactLog,
    sent: [u64; REPLICAS],
}

struct Tier {
    replicas: Vec<Replica>,
    alive: VecDeque<u64>,
    most: usize,
    open: VecDeque<(usize, Ticket)>,
    now: Timestamp,
    turn: usize,
}

/// What was measured in a tenth of the run. Its size does not depend on the length of the run.
#[derive(Debug)]
struct Tenth {
    memory: u64,
    /// Number of reports by age in milliseconds; the last entry counts those that are older, or missing.
    ages: Vec<u64>,
    counted: f64,
}

/// Replaces `args.names` endpoints one after the other.
pub(super) fn run(args: &ChurnArgs) -> Result<Table, Failure> {
    let mut tier = Tier::new(args.alive)?;
    let mut tenths: Vec<Tenth> = (0..10).map(|_| Tenth::new()).collect();
    for name in 0..args.names {
        tier.step(name)?;
        // Samples before the pool is full mean nothing.
        if name % SAMPLE_EVERY == 0 && name > 4 * args.alive as u64 {
            let tenth = &mut tenths[(name * 10 / args.names) as usize];
            tier.sample(tenth)?;
        }
    }
    let columns = ["tenth", "memory_mb", "load_age_p50_ms", "load_age_p99_ms", "in_flight_counted_pct"];
    let mut table = Table::new("churn", &columns).about("names", args.names).about("alive", args.alive);
    let (first, last) = (tenths[0].figures(), tenths[9].figures());
    let least = tenths.iter().map(|tenth| tenth.figures().3).fold(f64::INFINITY, f64::min);
    table = table.about("memory_last_to_first", rounded(last.0 / first.0));
    table = table.about("load_age_p99_last_to_first", rounded(last.2 / first.2)).about("in_flight_counted_pct", least);
    for (number, tenth) in tenths.iter().enumerate() {
        let (memory, p50, p99, counted) = tenth.figures();
        let mut row = vec![Cell::Count(number as u64 + 1), Cell::Figure(memory, 1), Cell::Figure(p50, 1)];
        row.extend([Cell::Figure(p99, 1), Cell::Figure(counted, 2)]);
        table.row(row);
    }
    Ok(table)
}

fn rounded(figure: f64) -> f64 {
    (figure * 1_000.0).round() / 1_000.0
}

// === impl Tenth ===

impl Tenth {
    fn new() -> Self {
        Self { memory: 0, ages: vec![0; AGES_MAX_MS + 1], counted: 100.0 }
    }

    /// The most memory in MB, the ages of load reports in ms (p50, p99), and the least share of peers' open work that
    /// was counted, in percent.
    fn figures(&self) -> (f64, f64, f64, f64) {
        (self.memory as f64 / 1e6, self.age(0.5), self.age(0.99), self.counted)
    }

    /// The age that this share of all reports does not exceed.
    fn age(&self, share: f64) -> f64 {
        let all: u64 = self.ages.iter().sum();
        let mut left = (share * all as f64).ceil() as u64;
        let at = self.ages.iter().position(|count| {
            left = left.saturating_sub(*count);
            left == 0
        });
        at.unwrap_or(AGES_MAX_MS) as f64
    }
}

// === impl Tier ===

impl Tier {
    fn new(most: usize) -> Result<Self, Failure> {
        let replicas = (0..REPLICAS).map(Replica::new).collect::<Result<_, _>>()?;
        let now = Timestamp::from_millis(1);
        Ok(Self { replicas, alive: VecDeque::new(), most, open: VecDeque::new(), now, turn: 0 })
    }

    fn step(&mut self, name: u64) -> Result<(), Failure> {
        self.now = self.now + STEP;
        let address = SocketAddr::from(([10, (name >> 16) as u8, (name >> 8) as u8, name as u8], 8000));
        self.discovered(&EndpointChange::Upsert(Endpoint { id: id(name), address, labels: BTreeMap::new() }))?;
        self.alive.push_back(name);
        if self.alive.len() > self.most
            && let Some(oldest) = self.alive.pop_front()
        {
            self.discovered(&EndpointChange::Remove(id(oldest)))?;
        }
        for _ in 0..READ_EACH_STEP {
            self.turn = (self.turn + 1) % self.alive.len();
            let endpoint = self.alive[self.turn];
            let report = LoadReport { waiting: (name % 5) as u32, awake: true, ..LoadReport::default() };
            let observed = Input::Observed(id(endpoint), Observation { report, age: Duration::from_millis(2) });
            self.replicas[(mix(endpoint) % REPLICAS as u64) as usize].handle(observed, self.now)?;
        }
        let asked = (name % REPLICAS as u64) as usize;
        let request = Input::Asked(Asked::new(Ticket(name), request(name)));
        self.replicas[asked].handle(request, self.now)?;
        self.open.push_back((asked, Ticket(name)));
        if self.open.len() > OPEN
            && let Some((replica, ticket)) = self.open.pop_front()
        {
            let ended = Input::TicketUpdate(ticket, News::Finished(Outcome::Completed));
            self.replicas[replica].handle(ended, self.now)?;
        }
        self.exchange()?;
        self.replicas.iter_mut().try_for_each(|replica| replica.handle(Input::Tick, self.now))
    }

    fn discovered(&mut self, change: &EndpointChange) -> Result<(), Failure> {
        let change = || Input::Discovered(vec![change.clone()]);
        self.replicas.iter_mut().try_for_each(|replica| replica.handle(change(), self.now))
    }

    fn exchange(&mut self) -> Result<(), Failure> {
        for from in 0..REPLICAS {
            for to in (0..REPLICAS).filter(|to| *to != from) {
                while let Some(encoded) =
                    self.replicas[from].log.batch_after(self.replicas[from].sent[to], FACTS_MAX, self.now)
                {
                    let bytes = encoded.bytes(codec::VERSION).map_err(|why| why.to_string())?;
                    let batch = codec::decode(&bytes).map_err(|why| why.to_string())?.batch;
                    self.replicas[from].sent[to] = encoded.upto;
                    self.replicas[to].handle(Input::Batch(Box::new(batch)), self.now)?;
                }
            }
        }
        Ok(())
    }

    fn sample(&self, tenth: &mut Tenth) -> Result<(), Failure> {
        let views: Vec<_> = self.replicas.iter().map(|replica| replica.scheduler.summary(self.now).endpoints).collect();
        let own: u32 = views.iter().flatten().map(|endpoint| endpoint.in_flight.requests).sum();
        let foreign: u32 = views.iter().flatten().map(|endpoint| endpoint.foreign.requests).sum();
        let counted = 100.0 * f64::from(foreign) / (f64::from(own) * (REPLICAS as f64 - 1.0)).max(1.0);
        tenth.counted = tenth.counted.min(counted);
        // The youngest endpoints were not scraped yet.
        let young: BTreeSet<_> = self.alive.iter().rev().take(self.most / READ_EACH_STEP + 2).map(|n| id(*n)).collect();
        let read = views.iter().flatten().filter(|endpoint| !young.contains(&endpoint.endpoint.id));
        for endpoint in read {
            let age = endpoint.age.map_or(AGES_MAX_MS, |age| usize::try_from(age.as_millis()).unwrap_or(AGES_MAX_MS));
            tenth.ages[age.min(AGES_MAX_MS)] += 1;
        }
        tenth.memory = tenth.memory.max(memory_kib(std::process::id())? << 10);
        Ok(())
    }
}

// === impl Replica ===

impl Replica {
    fn new(number: usize) -> Result<Self, Failure> {
        let (scheduler, _) = pool::scheduler(config::default_text(), INDEX_BYTES_MAX)?;
        let log = FactLog::new(ReplicaId(format!("replica-{number}")), Incarnation(1));
        Ok(Self { scheduler, log, sent: [0; REPLICAS] })
    }

    fn handle(&mut self, input: Input, now: Timestamp) -> Result<(), Failure> {
        let mut out = Outbox::default();
        self.scheduler.handle(input, now, &mut out);
        out.publish.drain(..).for_each(|(record, at)| self.log.publish(record, at));
        match out.answers.pop() {
            Some((_, Err(refusal))) => Err(format!("a request was refused: {}", refusal.sentence)),
            _ => Ok(()),
        }
    }
}

fn id(name: u64) -> EndpointId {
    EndpointId::new("default", &format!("vllm-{:012x}", mix(name) >> 16))
}

/// A request with eight blocks that many share, and eight of its own.
fn request(number: u64) -> InferenceRequest {
    let blocks = (0..16).map(|at| BlockHash(mix(if at < 8 { number % 40 } else { number + 1_000 } * 64 + at)));
    let chain = PrefixChain::from_blocks(16, blocks.collect());
    InferenceRequest { prompt: Prompt::estimated(256, 0, chain), sees_response: true, ..InferenceRequest::default() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn all_work_of_peers_is_counted_and_reports_do_not_get_older() {
        let mut tier = Tier::new(50).unwrap();
        let (mut first, mut last) = (Tenth::new(), Tenth::new());
        for name in 0..12_000 {
            tier.step(name).unwrap();
            match name {
                1_000..2_000 if name % SAMPLE_EVERY == 0 => tier.sample(&mut first).unwrap(),
                11_000.. if name % SAMPLE_EVERY == 0 => tier.sample(&mut last).unwrap(),
                _ => {}
            }
        }
        let (first, last) = (first.figures(), last.figures());
        assert_eq!((first.3, last.3), (100.0, 100.0));
        assert_eq!((first.1, first.2), (last.1, last.2));
    }
}
