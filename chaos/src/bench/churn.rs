//! Years of endpoint churn in virtual time: three schedulers that hear each other through the real codec, while endpoints
//! with new names replace old ones. What a replica holds must follow what is alive.
//!
//! Must not know sockets or clocks: messages arrive at once, and time is counted in steps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use murmuration::chance::mix;
use murmuration::config::{self, Catalog};
use murmuration::fleet::{Endpoint, EndpointChange, LoadReport, Observation, TrustAges};
use murmuration::id::{BlockHash, EndpointId, Incarnation, ReplicaId, Ticket};
use murmuration::prefix::PrefixChain;
use murmuration::replication::{FactLog, codec};
use murmuration::request::{Asked, InferenceRequest, Outcome, Prompt};
use murmuration::scheduler::{Input, News, Outbox, Scheduler, SchedulerSettings};
use murmuration::time::Timestamp;

use super::Failure;
use super::args::ChurnArgs;
use super::table::{Cell, Table};

/// Replicas of the tier.
const REPLICAS: usize = 3;
/// From one replacement to the next.
const STEP: Duration = Duration::from_millis(50);
/// Endpoints that are read in each step.
const READ_EACH_STEP: usize = 20;
/// Requests that are open at a time.
const OPEN: usize = 60;
/// Steps from one look at the views to the next.
const LOOK_EVERY: u64 = 97;
/// Bytes of each replica's prefix index: small, so that it is full early and what grows is something else.
const INDEX_BYTES_MAX: usize = 4 << 20;
/// Facts of a batch at most, as peer streams cut them.
const FACTS_MAX: usize = 1_024;
/// Ages of readings are told apart up to here.
const AGES_MAX_MS: usize = 10_000;
/// Bytes of a page of memory, as the kernel counts them here.
const PAGE_BYTES: u64 = 4_096;

/// One replica, and how far it has told each other one.
struct Replica {
    scheduler: Scheduler,
    log: FactLog,
    told: [u64; REPLICAS],
}

struct Tier {
    replicas: Vec<Replica>,
    alive: VecDeque<u64>,
    most: usize,
    open: VecDeque<(usize, Ticket)>,
    now: Timestamp,
    turn: usize,
}

/// What was seen in a tenth of the run, in as much room however long it was.
#[derive(Debug)]
struct Tenth {
    memory: u64,
    /// How many readings were so many milliseconds old; the last is of those that are older, or missing.
    ages: Vec<u64>,
    counted: f64,
}

/// Replaces `args.names` endpoints one after the other.
pub(super) fn run(args: &ChurnArgs) -> Result<Table, Failure> {
    let mut tier = Tier::new(args.alive)?;
    let mut tenths: Vec<Tenth> = (0..10).map(|_| Tenth::new()).collect();
    for name in 0..args.names {
        tier.step(name)?;
        // What is there before the pool is full says nothing.
        if name % LOOK_EVERY == 0 && name > 4 * args.alive as u64 {
            let tenth = &mut tenths[(name * 10 / args.names) as usize];
            tier.look(tenth)?;
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

    /// Memory at most in MB, ages of loads in ms, and the least share of peers' open work that was counted, in percent.
    fn figures(&self) -> (f64, f64, f64, f64) {
        (self.memory as f64 / 1e6, self.age(0.5), self.age(0.99), self.counted)
    }

    /// The age that this share of all readings is not above.
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
        let request = Input::Asked(Asked { ticket: Ticket(name), request: request(name) });
        self.replicas[asked].handle(request, self.now)?;
        self.open.push_back((asked, Ticket(name)));
        if self.open.len() > OPEN
            && let Some((replica, ticket)) = self.open.pop_front()
        {
            let ended = Input::TicketUpdate(ticket, News::Finished(Outcome::Completed));
            self.replicas[replica].handle(ended, self.now)?;
        }
        self.tell()?;
        self.replicas.iter_mut().try_for_each(|replica| replica.handle(Input::Tick, self.now))
    }

    fn discovered(&mut self, change: &EndpointChange) -> Result<(), Failure> {
        let change = || Input::Discovered(vec![change.clone()]);
        self.replicas.iter_mut().try_for_each(|replica| replica.handle(change(), self.now))
    }

    fn tell(&mut self) -> Result<(), Failure> {
        for from in 0..REPLICAS {
            for to in (0..REPLICAS).filter(|to| *to != from) {
                while let Some(cut) =
                    self.replicas[from].log.batch_after(self.replicas[from].told[to], FACTS_MAX, self.now)
                {
                    let bytes = cut.bytes().map_err(|why| why.to_string())?;
                    let batch = codec::decode(&bytes).map_err(|why| why.to_string())?.batch;
                    self.replicas[from].told[to] = cut.upto;
                    self.replicas[to].handle(Input::Batch(Box::new(batch)), self.now)?;
                }
            }
        }
        Ok(())
    }

    fn look(&self, tenth: &mut Tenth) -> Result<(), Failure> {
        let views: Vec<_> = self.replicas.iter().map(|replica| replica.scheduler.summary(self.now).endpoints).collect();
        let own: u32 = views.iter().flatten().map(|endpoint| endpoint.in_flight.requests).sum();
        let foreign: u32 = views.iter().flatten().map(|endpoint| endpoint.foreign.requests).sum();
        let counted = 100.0 * f64::from(foreign) / (f64::from(own) * (REPLICAS as f64 - 1.0)).max(1.0);
        tenth.counted = tenth.counted.min(counted);
        // The youngest were not read yet by anybody.
        let young: BTreeSet<_> = self.alive.iter().rev().take(self.most / READ_EACH_STEP + 2).map(|n| id(*n)).collect();
        let read = views.iter().flatten().filter(|endpoint| !young.contains(&endpoint.endpoint.id));
        for endpoint in read {
            let age = endpoint.age.map_or(AGES_MAX_MS, |age| usize::try_from(age.as_millis()).unwrap_or(AGES_MAX_MS));
            tenth.ages[age.min(AGES_MAX_MS)] += 1;
        }
        tenth.memory = tenth.memory.max(resident()?);
        Ok(())
    }
}

// === impl Replica ===

impl Replica {
    fn new(number: usize) -> Result<Self, Failure> {
        let blueprint = config::read(config::default_text(), "the default configuration", &Catalog::builtin());
        let blueprint = blueprint.map_err(|errors| errors.to_string())?;
        let settings = SchedulerSettings {
            prefix: blueprint.prefix,
            in_flight: blueprint.in_flight,
            saturation: blueprint.saturation,
            index_bytes_max: INDEX_BYTES_MAX,
            lease: Duration::from_secs(3600),
            sharing: true,
            trust_ages: TrustAges::default(),
        };
        let log = FactLog::new(ReplicaId(format!("replica-{number}")), Incarnation(1));
        Ok(Self { scheduler: Scheduler::new(blueprint.profiles, settings), log, told: [0; REPLICAS] })
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

/// Eight blocks that many share, and eight of its own.
fn request(number: u64) -> InferenceRequest {
    let blocks = (0..16).map(|at| BlockHash(mix(if at < 8 { number % 40 } else { number + 1_000 } * 64 + at)));
    let chain = PrefixChain::from_blocks(16, blocks.collect());
    InferenceRequest { prompt: Prompt { tokens: 256, chain }, attended: true, ..InferenceRequest::default() }
}

/// Bytes of memory that this process has, as the kernel says.
fn resident() -> Result<u64, Failure> {
    let told =
        std::fs::read_to_string("/proc/self/statm").map_err(|why| format!("can't read /proc/self/statm: {why}"))?;
    let pages = told.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.map(|pages| pages * PAGE_BYTES).ok_or_else(|| format!("/proc/self/statm is not what proc(5) says: {told:?}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn all_work_of_peers_is_counted_and_readings_stay_as_young_as_they_were() {
        let mut tier = Tier::new(50).unwrap();
        let (mut first, mut last) = (Tenth::new(), Tenth::new());
        for name in 0..12_000 {
            tier.step(name).unwrap();
            match name {
                1_000..2_000 if name % LOOK_EVERY == 0 => tier.look(&mut first).unwrap(),
                11_000.. if name % LOOK_EVERY == 0 => tier.look(&mut last).unwrap(),
                _ => {}
            }
        }
        let (first, last) = (first.figures(), last.figures());
        assert_eq!((first.3, last.3), (100.0, 100.0));
        assert_eq!((first.1, first.2), (last.1, last.2));
    }
}
