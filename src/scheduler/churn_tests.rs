//! Tests of long endpoint churn: views stay equal, and memory depends only on the endpoints that are alive.

use std::collections::VecDeque;

use super::*;
use crate::id::{Incarnation, ReplicaId};
use crate::replication::FactLog;

/// Endpoints that are alive at a time.
const ALIVE: u64 = 300;
/// Time from one replacement to the next.
const STEP: Duration = Duration::from_millis(500);

struct Replica {
    scheduler: Scheduler,
    log: FactLog,
    /// Up to which number each other replica was sent facts.
    sent: [u64; 3],
}

struct Tier {
    replicas: Vec<Replica>,
    now: Timestamp,
    alive: VecDeque<u64>,
    tickets: VecDeque<(usize, Ticket)>,
}

fn named(n: u64) -> EndpointId {
    EndpointId::new("default", &format!("pod-{n}"))
}

impl Replica {
    fn handle(&mut self, input: Input, now: Timestamp) {
        let mut out = Outbox::default();
        self.scheduler.handle(input, now, &mut out);
        out.publish.drain(..).for_each(|(record, at)| self.log.publish(record, at));
    }
}

impl Tier {
    fn new() -> Self {
        let replica = |n: u8| Replica {
            scheduler: scheduler(),
            log: FactLog::new(ReplicaId(format!("r{n}")), Incarnation(1)),
            sent: [0; 3],
        };
        let replicas = (0..3).map(replica).collect();
        Self { replicas, now: Timestamp::from_millis(1), alive: VecDeque::new(), tickets: VecDeque::new() }
    }

    fn discovered(&mut self, change: EndpointChange) {
        for replica in &mut self.replicas {
            replica.handle(Input::Discovered(vec![change.clone()]), self.now);
        }
    }

    /// A new endpoint comes, and the oldest goes once there are enough.
    fn replace(&mut self, n: u64) {
        let address = SocketAddr::from(([10, (n >> 16) as u8, (n >> 8) as u8, n as u8], 8000));
        self.discovered(EndpointChange::Upsert(Endpoint { id: named(n), address, labels: BTreeMap::new() }));
        self.alive.push_back(n);
        if self.alive.len() as u64 > ALIVE
            && let Some(oldest) = self.alive.pop_front()
        {
            self.discovered(EndpointChange::Remove(named(oldest)));
        }
    }

    /// One replica reads some endpoints, another one dispatches, and all exchange their facts.
    fn work(&mut self, n: u64) {
        let (reader, asked) = ((n % 3) as usize, (n / 3 % 3) as usize);
        for back in [0, 1, 100, 200] {
            let Some(&endpoint) = self.alive.iter().rev().nth(back) else { continue };
            let report = LoadReport { waiting: (n % 7) as u32, awake: true, ..LoadReport::default() };
            let observation = Observation { report, age: Duration::from_millis(2) };
            self.replicas[reader].handle(Input::Observed(named(endpoint), observation), self.now);
        }
        self.replicas[asked].handle(ask(n, n % 50, 10), self.now);
        self.tickets.push_back((asked, Ticket(n)));
        if self.tickets.len() > 40
            && let Some((replica, ticket)) = self.tickets.pop_front()
        {
            self.replicas[replica].handle(Input::TicketUpdate(ticket, News::Finished(Outcome::Completed)), self.now);
        }
        self.exchange();
        for replica in &mut self.replicas {
            replica.handle(Input::Tick, self.now);
        }
    }

    fn exchange(&mut self) {
        for from in 0..3 {
            for to in (0..3).filter(|to| *to != from) {
                let after = self.replicas[from].sent[to];
                let Some(batch) = self.replicas[from].log.since(after, usize::MAX, self.now) else { continue };
                self.replicas[from].sent[to] = batch.upto;
                self.replicas[to].handle(Input::Batch(Box::new(batch)), self.now);
            }
        }
    }

    /// The share of all open work that the other replicas count, and whether all hold readings of the same ages.
    fn views(&self) -> (f64, bool) {
        let views: Vec<_> = self.replicas.iter().map(|replica| replica.scheduler.summary(self.now).endpoints).collect();
        let own: u32 = views.iter().flatten().map(|endpoint| endpoint.in_flight.requests).sum();
        let foreign: u32 = views.iter().flatten().map(|endpoint| endpoint.foreign.requests).sum();
        let ages = |view: &[EndpointSummary]| view.iter().map(|endpoint| endpoint.age).collect::<Vec<_>>();
        let alike = views.windows(2).all(|pair| ages(&pair[0]) == ages(&pair[1]));
        (f64::from(foreign) / f64::from(own * 2), alike)
    }
}

#[test]
fn after_twenty_thousand_endpoint_names_peers_still_know_each_others_work_and_readings() {
    let mut tier = Tier::new();
    for n in 0..20_000 {
        tier.now = tier.now + STEP;
        tier.replace(n);
        tier.work(n);
        if n % 1_000 != 999 {
            continue;
        }
        assert_eq!(tier.views(), (1.0, true), "after {n} names");
        // Those that left within a minute are remembered too.
        let lately = 60_000 / STEP.as_millis() as usize + 1;
        for replica in &tier.replicas {
            let (published, received) = (replica.log.subjects(), replica.scheduler.peers.remembered());
            assert!(published <= 2 * ALIVE as usize + lately, "{published} after {n} names");
            assert!(received <= 2 * (ALIVE as usize + lately), "{received} after {n} names");
        }
    }
}
