//! The process that has the replicas and nothing else: it does what its standard input says, a word a line, answers with
//! one JSON object a line, and ends with its input.
//!
//! Must not know the load, nor what figures are wanted for.

use std::net::SocketAddr;

use murmuration_actors::replica::Addresses;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::{Instant, sleep};

use super::ages::{self, Ages};
use super::death;
use super::nest::{Bird, Nest};
use crate::bench::Failure;
use crate::bench::args::ReplicationHostArgs;

/// What the host is told.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(super) enum Order {
    /// Tell what went over the wire.
    Connection,
    /// Probe ages for so many seconds, and for so many rounds at least.
    Ages(f64, u64),
    /// Kill the replica of this number.
    Kill(usize),
    /// Start it again.
    Restart(usize),
}

/// What it answers.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) enum Answer {
    /// All replicas are ready and have met; ext-proc is served here.
    Ready(Vec<SocketAddr>),
    /// Bytes that all replicas sent so far.
    Connection {
        /// By peer streams, without the transport's own.
        streams: f64,
        /// By gossip, whole datagrams.
        gossip: f64,
        /// Batches that all replicas heard by peer streams, and the facts in them.
        heard: (f64, f64),
    },
    /// Ages.
    Ages(Ages),
    /// A replica was killed just now; [`Answer::Took`] comes when the others are clean of it.
    Killed,
    /// What was ordered has happened, and this is how long it took, in seconds.
    Took(f64),
    /// It can't be done.
    Failed(Failure),
}

struct Host {
    nest: Nest,
    birds: Vec<Option<Bird>>,
    addresses: Vec<Addresses>,
    rounds: u64,
}

/// Hosts until the standard input ends.
pub(super) async fn run(args: &ReplicationHostArgs) -> Result<(), Failure> {
    let mut host = match Host::start(args).await {
        Ok(host) => host,
        Err(why) => {
            answer(&Answer::Failed(why.clone()));
            return Err(why);
        }
    };
    answer(&Answer::Ready(host.addresses.iter().map(|one| one.ext_proc).collect()));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let order = serde_json::from_str(&line).map_err(|why| format!("not an order: {line:?}: {why}"))?;
        answer(&host.obey(order).await.unwrap_or_else(Answer::Failed));
    }
    Ok(())
}

fn answer(answer: &Answer) {
    println!("{}", serde_json::to_string(answer).unwrap_or_default());
}

// === impl Host ===

impl Host {
    async fn start(args: &ReplicationHostArgs) -> Result<Self, Failure> {
        let nest = Nest::prepare(args)?;
        let (mut birds, mut addresses) = (Vec::new(), Vec::new());
        for number in 0..nest.len() {
            let bird = nest.hatch(number, None).await?;
            addresses.push(bird.replica.addresses());
            birds.push(Some(bird));
        }
        let host = Self { nest, birds, addresses, rounds: 0 };
        if args.lanes != crate::bench::args::Lanes::None {
            host.met().await?;
        }
        Ok(host)
    }

    async fn met(&self) -> Result<(), Failure> {
        for bird in self.birds.iter().flatten() {
            bird.knows(self.nest.len() - 1).await?;
        }
        Ok(())
    }

    async fn obey(&mut self, order: Order) -> Result<Answer, Failure> {
        match order {
            Order::Connection => {
                let sent = |lane: &str| {
                    let family = format!("murmuration_peer_bytes_total{{direction=\"sent\",lane=\"{lane}\"}}");
                    self.birds.iter().flatten().map(|bird| bird.metric(&family)).sum()
                };
                let of = |family: &str| self.birds.iter().flatten().map(|bird| bird.metric(family)).sum();
                let batches = of("murmuration_peer_fact_age_seconds_count{lane=\"stream\"}");
                let heard = (batches, of("murmuration_peer_facts_total{lane=\"stream\"}"));
                Ok(Answer::Connection { streams: sent("stream"), gossip: sent("gossip"), heard })
            }
            Order::Ages(seconds, least) => {
                let birds: Vec<&Bird> = self.birds.iter().flatten().collect();
                Ok(Answer::Ages(ages::measure(&birds, seconds, least).await?))
            }
            Order::Kill(number) => self.kill(number).await,
            Order::Restart(number) => self.restart(number).await,
        }
    }

    async fn kill(&mut self, number: usize) -> Result<Answer, Failure> {
        let bird = self.birds.get_mut(number).and_then(Option::take).ok_or("no such replica lives")?;
        let others: Vec<&Bird> = self.birds.iter().flatten().collect();
        self.rounds += 1;
        let work = death::give(&bird, &others, self.rounds).await?;
        drop(bird);
        let died = Instant::now();
        answer(&Answer::Killed);
        Ok(Answer::Took(death::cleaned(&work, &others, died).await?))
    }

    async fn restart(&mut self, number: usize) -> Result<Answer, Failure> {
        let was = *self.addresses.get(number).ok_or("no such replica")?;
        let (bird, took) = death::reborn(&self.nest, number, was).await?;
        *self.birds.get_mut(number).ok_or("no such replica")? = Some(bird);
        self.met().await?;
        // The others' rosters settle before the next death.
        sleep(std::time::Duration::from_millis(500)).await;
        Ok(Answer::Took(took))
    }
}
