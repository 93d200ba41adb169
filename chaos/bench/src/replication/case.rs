//! One case: a number of replicas and some lanes, with the same engines and the same load.
//!
//! Must not know how a figure is shown.

use std::net::SocketAddr;
use std::time::Duration;

use murmuration_kit::pool::EndpointsFile;
use murmuration_proto::ext_proc::ExternalProcessorClient;
use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};

use super::ages::Ages;
use super::child::Host;
use super::engines::Engines;
use super::host::{Answer, Order};
use crate::Failure;
use crate::args::{Lanes, ReplicationArgs};
use crate::ext_proc::exchange::Plan;
use crate::ext_proc::paced::Paced;

/// Scrape interval of an engine: the default of `serve`.
const SCRAPE: Duration = Duration::from_millis(50);
/// Bytes of each request's body: about a thousand tokens, a quarter of them shared by all.
const BODY_BYTES: usize = 4 << 10;
/// How long the engine works on each request.
const HELD: Duration = Duration::from_millis(200);
/// After this time under load, connections are open and indices have grown.
const WARM_UP: Duration = Duration::from_secs(3);
/// By then the pages that a dead replica requested are written, and no successor has taken over yet.
const LAST_PAGES: Duration = Duration::from_millis(100);
/// Interval of reading the engines' page counts.
const POLL_INTERVAL: Duration = Duration::from_millis(2);
/// An engine that is not scraped for this long has no successor.
const PATIENCE: Duration = Duration::from_secs(20);

/// What all cases have in common.
#[derive(Debug)]
pub(super) struct Case {
    engines: Engines,
    endpoints: EndpointsFile,
    rate: u32,
    zones: u16,
    seconds: f64,
}

/// Replicas under load.
#[derive(Debug)]
pub(super) struct Running<'a> {
    case: &'a Case,
    host: Host,
    load: Paced,
    replicas: usize,
}

/// What a case costs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// Processor time of each replica, in hundredths of a core.
    pub(super) cpu_pct: f64,
    /// Sent by each replica over peer streams, in Mbit/s, without the transport's own.
    pub(super) stream_mbit: f64,
    /// Sent by each replica as gossip, in Mbit/s, whole datagrams.
    pub(super) gossip_mbit: f64,
    /// Sent by each replica to other zones, by both.
    pub(super) far_mbit: f64,
    /// Batches that each replica received by peer streams, per second.
    pub(super) batches_received: f64,
    /// Facts in each of them.
    pub(super) facts_a_batch: f64,
    /// Pages that each engine served, per second.
    pub(super) scrapes_per_engine: f64,
}

/// The worst of some deaths, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deaths {
    /// Until no other replica counted the dead one's open work.
    pub(super) clean_s: f64,
    /// Until each engine had been scraped again.
    pub(super) successor_s: f64,
    /// From the restart until the replica was ready.
    pub(super) ready_s: f64,
}

// === impl Case ===

impl Case {
    /// Starts the engines.
    pub(super) async fn prepare(args: &ReplicationArgs) -> Result<Self, Failure> {
        let engines = Engines::serve(args.endpoints).await?;
        let endpoints = EndpointsFile::with(&engines.addresses)?;
        Ok(Self { engines, endpoints, rate: args.rate, zones: args.zones, seconds: args.seconds })
    }

    /// The cost of this many replicas that share over `lanes`.
    pub(super) async fn cost(&self, replicas: usize, lanes: Lanes) -> Result<Cost, Failure> {
        Ok(self.start(replicas, lanes).await?.1)
    }

    /// Starts them, and measures their cost.
    pub(super) async fn start(&self, replicas: usize, lanes: Lanes) -> Result<(Running<'_>, Cost), Failure> {
        eprintln!("{replicas} replicas, lanes: {}", lanes.as_str());
        // Without lanes, each replica scrapes every engine.
        let readers = if lanes == Lanes::None { replicas.max(1) } else { 1 };
        let interval = SCRAPE * u32::try_from(readers).unwrap_or(u32::MAX);
        let (host, ready) = Host::start((replicas, self.zones), lanes, interval, &self.endpoints).await?;
        let Answer::Ready(addresses) = ready else { return Err(format!("the host is not ready: {ready:?}")) };
        let clients = addresses.iter().map(client).collect::<Result<_, _>>()?;
        let load = Paced::start(clients, Plan::new(BODY_BYTES, 0, 1).held(HELD), self.rate);
        sleep(WARM_UP).await;
        let mut running = Running { case: self, host, load, replicas };
        let cost = running.cost().await?;
        Ok((running, cost))
    }
}

// === impl Running ===

impl Running<'_> {
    async fn cost(&mut self) -> Result<Cost, Failure> {
        self.requests()?;
        let (cpu, served) = (self.host.cpu()?, self.case.engines.served());
        let (began, wire) = (Instant::now(), self.wire().await?);
        sleep(Duration::from_secs_f64(self.case.seconds)).await;
        let took = began.elapsed().as_secs_f64();
        let (cpu, now) = ((self.host.cpu()? - cpu).as_secs_f64(), self.wire().await?);
        let pages: u64 = self.case.engines.served().iter().zip(&served).map(|(now, then)| now - then).sum();
        let done = self.requests()? as f64 / took;
        eprintln!("  {done:.0} requests/s ended in order");
        let each = |bytes: f64| bytes * 8.0 / 1e6 / took / self.replicas as f64;
        Ok(Cost {
            cpu_pct: cpu / took / self.replicas as f64 * 100.0,
            stream_mbit: each(now.0 - wire.0),
            gossip_mbit: each(now.1 - wire.1),
            far_mbit: each(now.2 - wire.2),
            batches_received: (now.3.0 - wire.3.0) / took / self.replicas as f64,
            facts_a_batch: (now.3.1 - wire.3.1) / (now.3.0 - wire.3.0).max(1.0),
            scrapes_per_engine: pages as f64 / took / served.len() as f64,
        })
    }

    /// Ages of facts, probed for `seconds` and for at least `least` rounds.
    pub(super) async fn ages(&mut self, seconds: f64, least: u64) -> Result<Ages, Failure> {
        let answer = self.host.ask(Order::Ages(seconds, least)).await?;
        self.requests()?;
        match answer {
            Answer::Ages(ages) => Ok(ages),
            other => Err(format!("not ages: {other:?}")),
        }
    }

    /// Kills and restarts one replica after the other, `times` times; requests at the dead one may fail.
    pub(super) async fn deaths(&mut self, times: usize) -> Result<Deaths, Failure> {
        let mut worst = Deaths::default();
        for number in (0..times).map(|time| time % self.replicas.max(1)) {
            let killed = self.host.ask(Order::Kill(number)).await?;
            let Answer::Killed = killed else { return Err(format!("not killed: {killed:?}")) };
            let died = Instant::now();
            let (successors, clean) = tokio::join!(successors(&self.case.engines, died), self.host.answer());
            let ready = self.host.ask(Order::Restart(number)).await?;
            worst.successor_s = worst.successor_s.max(successors?);
            worst.clean_s = worst.clean_s.max(seconds(clean?)?);
            worst.ready_s = worst.ready_s.max(seconds(ready)?);
        }
        Ok(worst)
    }

    async fn wire(&mut self) -> Result<(f64, f64, f64, (f64, f64)), Failure> {
        match self.host.ask(Order::Connection).await? {
            Answer::Connection { streams, gossip, far, heard } => Ok((streams, gossip, far, heard)),
            other => Err(format!("not what was sent: {other:?}")),
        }
    }

    /// How many requests ended in order since the last call. None may fail.
    fn requests(&self) -> Result<usize, Failure> {
        let account = self.load.take();
        let (well, left_out) = (account.decisions_ms.len(), account.left_out);
        match account.why {
            Some(why) => Err(format!("{} of {well} requests went wrong; the first: {why}", account.failed)),
            None if left_out > 0 => {
                Err(format!("{left_out} requests were not sent, because too many were open; lower --rate"))
            }
            None => Ok(well),
        }
    }
}

fn client(replica: &SocketAddr) -> Result<ExternalProcessorClient<Channel>, Failure> {
    let endpoint = Endpoint::try_from(format!("http://{replica}")).map_err(|why| why.to_string())?;
    let endpoint = endpoint.initial_stream_window_size(1 << 20).initial_connection_window_size(16 << 20);
    // Lazy, so that it reconnects to a replica that was away.
    let channel = endpoint.tcp_nodelay(true).connect_lazy();
    Ok(ExternalProcessorClient::new(channel).max_decoding_message_size(usize::MAX))
}

/// Seconds from `died` until every engine was scraped again by a live replica.
async fn successors(engines: &Engines, died: Instant) -> Result<f64, Failure> {
    sleep(LAST_PAGES).await;
    let before = engines.served();
    while engines.served().iter().zip(&before).any(|(now, then)| now <= then) {
        if died.elapsed() > PATIENCE {
            return Err(format!("an engine was not scraped for {PATIENCE:?}"));
        }
        sleep(POLL_INTERVAL).await;
    }
    Ok(died.elapsed().as_secs_f64())
}

fn seconds(answer: Answer) -> Result<f64, Failure> {
    match answer {
        Answer::Took(seconds) => Ok(seconds),
        other => Err(format!("not a time: {other:?}")),
    }
}
