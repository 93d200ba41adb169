//! One run in virtual time: requests arrive at replicas, replicas choose engines, engines compute, and replicas send
//! each other what they learn.
//!
//! Must not know how a decision is made, or how a result is shown. There is one thread and one queue, and all chance
//! comes from the seed.

mod exchange;

use std::collections::BTreeMap;
use std::time::Duration;

use murmuration::chance::Chance;
use murmuration::fleet::{LoadReport, Observation};
use murmuration::id::Ticket;
use murmuration::replication::codec;
use murmuration::request::Outcome as End;
use murmuration::scheduler::{Input, News};
use murmuration::time::Timestamp;

use murmuration_engine_sim::model::Request;

use super::ages::LaneCounts;
use super::lanes::{Lane, Lanes, Message, ROUND};
use super::legs::{Legs, Part};
use super::plan::{Plan, Way};
use super::prompt;
use super::queue::Queue;
use super::replica::{self, Replica};
use super::station::Station;
use super::tally::{Outcome, Tally, When, coefficient_of_variation};
use super::tempo::{QUIET, Tempo};
use super::trace::Recorded;

/// Latency from a replica to an engine, or back.
const HOP: Duration = Duration::from_millis(1);
/// Engines are scraped this often.
const SCRAPE: Duration = Duration::from_millis(50);
/// Schedulers check leases and trust this often.
const TICK: Duration = Duration::from_millis(100);
/// Once in this many requests, all replicas are asked for their decision.
const ASK_EVERY: usize = 50;
/// Requests that all replicas are asked about at the end of each quiet second.
const ASKED_IN_QUIET: usize = 50;
/// Requests that all replicas are asked about after the end.
const ASKED_AT_END: usize = 200;

/// An event in virtual time.
#[derive(Debug)]
enum Event {
    /// A request arrives, the n-th of the run.
    Arrive(usize),
    /// A request that was kept back for a while is decided.
    Decide { request: usize, waited: Duration },
    /// A quiet second ends, the n-th of the run.
    Quiet(usize),
    /// A request reaches an engine, for a part of its work.
    Reach { engine: usize, request: usize, part: Part },
    /// An engine's step ends.
    Step(usize),
    /// A replica reads an engine's metrics page.
    Scrape { replica: usize, engine: usize },
    /// The page that it read arrives.
    Observed { replica: usize, engine: usize, page: Box<LoadReport> },
    /// A replica sees an answer begin or end.
    AnswerSeen { replica: usize, request: usize, news: News },
    /// A replica sends what is new by its streams.
    Flush(usize),
    /// A replica writes its gossip pages.
    Round(usize),
    /// A message arrives.
    Arrived(Message),
    /// A receiver that missed something asks for everything after a number.
    Resend { from: usize, to: usize, after: u64 },
    /// Every scheduler checks leases, and loads are sampled.
    Tick,
}

/// When a replica sends what is new by its streams.
#[derive(Clone, Copy, Debug, Default)]
struct Flushes {
    planned: Option<Timestamp>,
    last: Timestamp,
    /// When the next dispatch may be sent.
    next: Timestamp,
}

/// The state of a run.
struct Simulation<'a> {
    plan: &'a Plan,
    trace: &'a [Recorded],
    tempo: &'a Tempo,
    queue: Queue<Event>,
    replicas: Vec<Replica>,
    /// When what is new is sent next, by replica.
    flushes: Vec<Flushes>,
    stations: Vec<Station>,
    /// The replica that serves each request.
    served_by: Vec<usize>,
    legs: Legs,
    lanes: Lanes,
    books: LaneCounts,
    tally: Tally,
    balance: Chance,
    last_arrival: Timestamp,
}

/// Replays `trace` at `tempo` as `plan` says.
///
/// # Errors
/// All errors of the configuration.
pub fn run(plan: &Plan, trace: &[Recorded], tempo: &Tempo) -> Result<Outcome, String> {
    let replicas = (0..plan.replicas.max(1)).map(|n| Replica::new(n, plan)).collect::<Result<Vec<_>, _>>()?;
    let mut simulation = Simulation {
        plan,
        trace,
        tempo,
        queue: Queue::default(),
        flushes: vec![Flushes::default(); replicas.len()],
        lanes: Lanes::new(replicas.len(), plan.zones, plan.loss, plan.seed),
        replicas,
        stations: (0..plan.engines.max(1)).map(|n| Station::new(plan.engine.clone(), plan.slowness_of(n))).collect(),
        served_by: vec![0; trace.len()],
        legs: Legs::new(plan.pairs, trace.len(), plan.engines.max(1)),
        books: LaneCounts::default(),
        tally: Tally::new(tempo.arrivals.len()),
        balance: Chance::from_seed(plan.seed ^ 0x656e_766f_7900),
        last_arrival: tempo.arrivals.last().map_or(Timestamp::ZERO, |last| last.0),
    };
    simulation.begin();
    let end = simulation.run_events();
    Ok(simulation.outcome(end))
}

// === impl Simulation ===

impl Simulation<'_> {
    fn begin(&mut self) {
        for (n, &(at, _)) in self.tempo.arrivals.iter().enumerate() {
            self.queue.plan(at, Event::Arrive(n));
        }
        if self.plan.way == Way::RoundRobin {
            return self.queue.plan(Timestamp::ZERO, Event::Tick);
        }
        for (n, &(at, _)) in self.tempo.quiets.iter().enumerate() {
            self.queue.plan(at, Event::Quiet(n));
        }
        let sharing = self.plan.sharing();
        let (replicas, engines) = (self.replicas.len(), self.stations.len());
        // Rounds are out of phase with each other.
        let phase = |n: usize, of: usize, round: Duration| Timestamp::ZERO + round * n as u32 / of as u32;
        for (engine, keeper) in replica::keepers(replicas, engines, self.plan.zones).into_iter().enumerate() {
            for replica in (0..replicas).filter(|&replica| replica == keeper || !sharing.keepers()) {
                let first = if sharing.keepers() { 0 } else { replica };
                let at = phase(engine * replicas + first, engines * replicas, SCRAPE);
                self.queue.plan(at, Event::Scrape { replica, engine });
            }
        }
        for replica in (0..replicas).filter(|_| sharing.gossip() && replicas > 1) {
            self.queue.plan(phase(replica, replicas, ROUND), Event::Round(replica));
        }
        self.queue.plan(Timestamp::ZERO, Event::Tick);
    }

    /// Handles all events; returns the time of the last one.
    fn run_events(&mut self) -> Timestamp {
        let latest = self.last_arrival + self.plan.patience;
        let mut end = Timestamp::ZERO;
        while !self.tally.all_finished() {
            let Some((now, what)) = self.queue.take() else { break };
            end = now;
            if now > latest {
                break;
            }
            self.handle_event(what, now);
        }
        if self.tally.all_finished() && self.plan.way != Way::RoundRobin {
            self.settle(end);
        }
        end
    }

    /// Lets a second pass in which all messages arrive, and then asks all replicas for their decisions.
    fn settle(&mut self, end: Timestamp) {
        while let Some((now, what)) = self.queue.take() {
            if now > end + QUIET {
                let asked: Vec<usize> = self.tempo.arrivals.iter().rev().take(ASKED_AT_END).map(|&(_, r)| r).collect();
                return asked.into_iter().for_each(|request| self.ask_all(request, now, When::Over));
            }
            self.handle_event(what, now);
        }
    }

    fn handle_event(&mut self, what: Event, now: Timestamp) {
        match what {
            Event::Arrive(n) => self.arrive(n, now),
            Event::Decide { request, waited } => self.decide(request, waited, now),
            Event::Quiet(n) => {
                let next = self.tempo.quiets[n].1;
                let asked = self.tempo.arrivals.iter().skip(next).take(ASKED_IN_QUIET);
                let asked: Vec<usize> = asked.map(|&(_, request)| request).collect();
                asked.into_iter().for_each(|request| self.ask_all(request, now, When::Quiet));
            }
            Event::Reach { engine, request, part } => {
                let whole = prompt::computed(request, &self.trace[request]);
                let end = match part {
                    Part::Whole => self.stations[engine].submit(whole, now),
                    Part::Prompt => self.stations[engine].submit(Request { max_tokens: 1, ..whole }, now),
                    Part::Answer => self.stations[engine].receive(whole, now),
                };
                if let Some(end) = end {
                    self.queue.plan(end, Event::Step(engine));
                }
            }
            Event::Step(engine) => self.step(engine, now),
            Event::Scrape { replica, engine } => {
                let page = Box::new(self.stations[engine].page());
                self.queue.plan(now + HOP, Event::Observed { replica, engine, page });
                self.queue.plan(now + SCRAPE, Event::Scrape { replica, engine });
            }
            Event::Observed { replica, engine, page } => {
                let observation = Observation { report: *page, age: HOP * 2 };
                self.handle(replica, Input::Observed(replica::endpoint_id(engine), observation), now);
            }
            Event::AnswerSeen { replica, request, news } => {
                self.handle(replica, Input::TicketUpdate(Ticket(request as u64), news), now);
            }
            Event::Flush(replica) => self.flush(replica, now),
            Event::Round(replica) => self.round(replica, now),
            Event::Arrived(message) => self.receive(&message, now),
            Event::Resend { from, to, after } => {
                let Some(batch) = self.replicas[from].since(after, now) else { return };
                self.books.sent(Lane::Stream, 1, codec::encode(&batch).map_or(0, |bytes| bytes.len()));
                if let Some(at) = self.lanes.stream(from, to, batch.upto, now) {
                    self.queue.plan(at, Event::Arrived(Message { lane: Lane::Stream, from, to, sent: now, batch }));
                }
            }
            Event::Tick => self.tick(now),
        }
    }

    fn arrive(&mut self, n: usize, now: Timestamp) {
        let request = self.tempo.arrivals[n].1;
        self.tally.arrived(request, now);
        if self.plan.way == Way::RoundRobin {
            let engine = n % self.stations.len();
            return self.queue.plan(now + HOP, Event::Reach { engine, request, part: Part::Whole });
        }
        if n % ASK_EVERY == ASK_EVERY - 1 {
            self.ask_all(request, now, When::Loaded);
        }
        // As with many Envoy workers that each take turns by themselves.
        let replica = self.balance.below(self.replicas.len());
        self.served_by[request] = replica;
        let asked = prompt::asked(request, &self.trace[request], self.replicas[replica].prefix());
        let waited = self.replicas[replica].wait(&asked, now);
        match waited.is_zero() {
            true => self.decide(request, waited, now),
            false => self.queue.plan(now + waited, Event::Decide { request, waited }),
        }
    }

    fn decide(&mut self, request: usize, waited: Duration, now: Timestamp) {
        let replica = self.served_by[request];
        let asked = prompt::asked(request, &self.trace[request], self.replicas[replica].prefix());
        let route = self.replicas[replica].dispatch(request, asked, waited, now);
        self.plan_flush(replica, now);
        if let Some(route) = route {
            let (engine, part) = self.legs.begin(request, route);
            self.queue.plan(now + HOP, Event::Reach { engine, request, part });
        }
    }

    fn ask_all(&mut self, request: usize, now: Timestamp, when: When) {
        let asked = prompt::asked(request, &self.trace[request], self.replicas[0].prefix());
        let opinions: Vec<_> = self.replicas.iter_mut().map(|replica| replica.opinion(&asked, now)).collect();
        self.tally.asked(opinions.windows(2).all(|pair| pair[0] == pair[1]), when);
    }

    fn step(&mut self, engine: usize, now: Timestamp) {
        let (outputs, next) = self.stations[engine].step(now);
        for output in outputs {
            let request = output.id as usize;
            if let Some(decode) = self.legs.prompt_done(request, engine, output.cached_tokens as u64) {
                self.hand_over(request, decode, now);
                continue;
            }
            if output.index == 0 {
                let prompt = self.trace[request].input_length;
                let cached = self.legs.cached(request, output.cached_tokens as u64);
                self.tally.first_token(request, prompt, cached, now + HOP);
                self.report(request, News::FirstToken, now);
            }
            if output.finished {
                self.tally.finished(request, output.index as u64 + 1, now + HOP);
                self.report(request, News::Finished(End::Completed), now);
            }
        }
        if let Some(end) = next {
            self.queue.plan(end, Event::Step(engine));
        }
    }

    /// The prompt is computed: the engine that decodes is asked, and gets the KV that it does not hold.
    fn hand_over(&mut self, request: usize, decode: usize, now: Timestamp) {
        let lacks = self.stations[decode].lacks(&prompt::computed(request, &self.trace[request]));
        // The engine that prefills answers the sidecar, which asks the one that decodes.
        let at = self.legs.transferred(decode, lacks, now + HOP * 2);
        self.queue.plan(at, Event::Reach { engine: decode, request, part: Part::Answer });
    }

    fn report(&mut self, request: usize, news: News, now: Timestamp) {
        if self.plan.way != Way::RoundRobin {
            let replica = self.served_by[request];
            self.queue.plan(now + HOP, Event::AnswerSeen { replica, request, news });
        }
    }

    fn handle(&mut self, replica: usize, input: Input, now: Timestamp) {
        self.replicas[replica].handle(input, now);
        self.plan_flush(replica, now);
    }

    fn tick(&mut self, now: Timestamp) {
        if self.plan.way != Way::RoundRobin {
            (0..self.replicas.len()).for_each(|replica| self.handle(replica, Input::Tick, now));
        }
        if now <= self.last_arrival {
            self.tally.loads(self.stations.iter().map(Station::requests));
        }
        self.queue.plan(now + TICK, Event::Tick);
    }

    fn outcome(&self, end: Timestamp) -> Outcome {
        let span = end.since(Timestamp::ZERO);
        let work: Vec<f64> = self.stations.iter().map(|station| station.work().as_secs_f64()).collect();
        let could = self.last_arrival.since(Timestamp::ZERO).as_secs_f64() * self.stations.len() as f64;
        let replicas = self.replicas.len();
        let shares = replicas > 1 && self.plan.sharing().tries();
        let mut lanes = BTreeMap::new();
        if shares && self.plan.sharing().streams() {
            lanes.insert("stream", self.books.report(Lane::Stream, &self.lanes, replicas, span));
        }
        if shares && self.plan.sharing().gossip() {
            lanes.insert("gossip", self.books.report(Lane::Gossip, &self.lanes, replicas, span));
        }
        Outcome {
            work: work.iter().sum::<f64>() / could.max(1e-6),
            work_cov: coefficient_of_variation(&work).unwrap_or(0.0),
            preemptions: self.stations.iter().map(Station::preemptions).sum(),
            lanes,
            ..self.tally.outcome(end)
        }
    }
}

#[cfg(test)]
#[path = "simulation_tests.rs"]
mod tests;
