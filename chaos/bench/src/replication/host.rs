//! The process that runs the replicas and nothing else. It reads orders from standard input and writes answers to
//! standard output, each one line of JSON, and ends with its input.
//!
//! Must not know the load, or what figures are used for.

use std::net::SocketAddr;

use murmuration_actors::replica::Addresses;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::{Instant, sleep};

use super::ages::{self, Ages};
use super::death;
use super::replica_host::{HostedReplica, ReplicaHost};
use crate::Failure;
use crate::args::ReplicationHostArgs;

/// An order to the host.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(super) enum Order {
    /// Report what went over the wire.
    Connection,
    /// Probe ages for this many seconds, and for at least this many rounds.
    Ages(f64, u64),
    /// Kill the replica of this number.
    Kill(usize),
    /// Start it again.
    Restart(usize),
}

/// An answer of the host.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) enum Answer {
    /// All replicas are ready and see each other; these are their ext-proc addresses.
    Ready(Vec<SocketAddr>),
    /// Bytes that all replicas sent so far.
    Connection {
        /// By peer streams, without the transport's own.
        streams: f64,
        /// By gossip, whole datagrams.
        gossip: f64,
        /// By both, to replicas of other zones.
        far: f64,
        /// Batches that all replicas received by peer streams, and the facts in them.
        heard: (f64, f64),
    },
    /// Ages.
    Ages(Ages),
    /// A replica was just killed; [`Answer::Took`] follows when the others no longer count its work.
    Killed,
    /// The order is done; how long it took, in seconds.
    Took(f64),
    /// The order failed.
    Failed(Failure),
}

struct Host {
    replica_host: ReplicaHost,
    replicas: Vec<Option<HostedReplica>>,
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
        answer(&host.execute(order).await.unwrap_or_else(Answer::Failed));
    }
    Ok(())
}

fn answer(answer: &Answer) {
    println!("{}", serde_json::to_string(answer).unwrap_or_default());
}

// === impl Host ===

impl Host {
    async fn start(args: &ReplicationHostArgs) -> Result<Self, Failure> {
        let replica_host = ReplicaHost::prepare(args)?;
        let (mut replicas, mut addresses) = (Vec::new(), Vec::new());
        for number in 0..replica_host.len() {
            let hosted = replica_host.start(number, None).await?;
            addresses.push(hosted.replica.addresses());
            replicas.push(Some(hosted));
        }
        let host = Self { replica_host, replicas, addresses, rounds: 0 };
        if args.lanes != crate::args::Lanes::None {
            host.wait_until_met().await?;
        }
        Ok(host)
    }

    async fn wait_until_met(&self) -> Result<(), Failure> {
        for hosted in self.replicas.iter().flatten() {
            hosted.knows(self.replica_host.len() - 1).await?;
        }
        Ok(())
    }

    async fn execute(&mut self, order: Order) -> Result<Answer, Failure> {
        match order {
            Order::Connection => {
                let sent = |lane: &str| {
                    let family = format!("murmuration_peer_bytes_total{{direction=\"sent\",lane=\"{lane}\"}}");
                    self.replicas.iter().flatten().map(|hosted| hosted.metric(&family)).sum()
                };
                let of = |family: &str| self.replicas.iter().flatten().map(|hosted| hosted.metric(family)).sum();
                let batches = of("murmuration_peer_fact_age_seconds_count{lane=\"stream\"}");
                let heard = (batches, of("murmuration_peer_facts_total{lane=\"stream\"}"));
                Ok(Answer::Connection {
                    streams: sent("stream"),
                    gossip: sent("gossip"),
                    far: of("murmuration_peer_zone_bytes_total"),
                    heard,
                })
            }
            Order::Ages(seconds, least) => {
                let replicas: Vec<&HostedReplica> = self.replicas.iter().flatten().collect();
                Ok(Answer::Ages(ages::measure(&replicas, seconds, least).await?))
            }
            Order::Kill(number) => self.kill(number).await,
            Order::Restart(number) => self.restart(number).await,
        }
    }

    async fn kill(&mut self, number: usize) -> Result<Answer, Failure> {
        let hosted = self.replicas.get_mut(number).and_then(Option::take).ok_or("no such replica runs")?;
        let others: Vec<&HostedReplica> = self.replicas.iter().flatten().collect();
        self.rounds += 1;
        let work = death::give(&hosted, &others, self.rounds).await?;
        drop(hosted);
        let died = Instant::now();
        answer(&Answer::Killed);
        Ok(Answer::Took(death::cleaned(&work, &others, died).await?))
    }

    async fn restart(&mut self, number: usize) -> Result<Answer, Failure> {
        let was = *self.addresses.get(number).ok_or("no such replica")?;
        let (hosted, took) = death::restart(&self.replica_host, number, was).await?;
        *self.replicas.get_mut(number).ok_or("no such replica")? = Some(hosted);
        self.wait_until_met().await?;
        // The membership views of the others settle before the next death.
        sleep(std::time::Duration::from_millis(500)).await;
        Ok(Answer::Took(took))
    }
}
