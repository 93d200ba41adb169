//! A replica that serves many pools, beside one that serves a single one of them: memory, and the decision times of the
//! same load, measured in turns while both run.
//!
//! Must not know how a replica keeps its pools apart.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::time::Duration;

use murmuration_kit::machine::peak_memory_kib;
use tokio::time::{Instant, sleep};

use super::Failure;
use super::args::PoolsArgs;
use super::ext_proc::exchange::{Plan, exchange};
use super::ext_proc::paced::Paced;
use super::pages::Pages;
use super::server::{Server, connect};
use super::spread::Spread;
use super::table::{Cell, Table};

/// Bytes of the body of each request.
const BODY_BYTES: usize = 4 << 10;
/// The number of the requests that find out whether a pool is ready; those of the load stay below it.
const FIRST: u64 = 1 << 40;
/// How long all pools may take to be ready.
const PATIENCE: Duration = Duration::from_secs(60);
/// The start of each round, which is not measured.
const WARM_UP: Duration = Duration::from_millis(500);
/// Where pools listen.
const PORTS: Range<u16> = 20_000..30_000;
const COLUMNS: [&str; 6] = ["pools", "decisions", "decision_p50_ms", "decision_p99_ms", "cpu_pct", "rss_peak_mib"];

/// A replica and where its pools are.
struct Case {
    server: Server,
    ports: Vec<u16>,
    decisions_ms: Vec<f64>,
    cpu: Duration,
    measured: Duration,
}

/// Measures both.
pub(super) async fn run(args: &PoolsArgs) -> Result<Table, Failure> {
    let engines = args.pools.checked_mul(args.endpoints).ok_or("too many engines")?;
    let pages = Pages::serve(engines.saturating_add(args.endpoints), None).await?;
    let (alone, many) = pages.addresses.split_at(args.endpoints.into());
    let mut table = Table::new("pools", &COLUMNS).about("endpoints", args.endpoints).about("rate", args.rate);
    table = table.about("seconds", args.seconds).about("rounds", args.rounds).about("interval_ms", args.interval);
    let mut cases = [Case::start(alone, args).await?, Case::start(many, args).await?];
    for _ in 0..args.rounds {
        for case in &mut cases {
            case.round(args).await?;
        }
    }
    for case in cases {
        table.row(case.row()?);
    }
    Ok(table)
}

// === impl Case ===

impl Case {
    /// Starts a replica with a pool for each `args.endpoints` engines, and waits until all of them answer.
    async fn start(engines: &[SocketAddr], args: &PoolsArgs) -> Result<Self, Failure> {
        let pools: Vec<&[SocketAddr]> = engines.chunks(args.endpoints.max(1).into()).collect();
        let ports = free_ports(pools.len())?;
        let listed: Vec<_> = ports.iter().copied().zip(pools).collect();
        let interval = format!("{}ms", args.interval);
        let server = Server::of_pools(&listed, &["--refresh-metrics-interval", &interval]).await?;
        let began = Instant::now();
        for port in &ports {
            while let Err(why) = answers(*port).await {
                if began.elapsed() > PATIENCE {
                    return Err(format!("the pool on port {port} was not ready after {PATIENCE:?}: {why}"));
                }
                sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(Self { server, ports, decisions_ms: Vec::new(), cpu: Duration::ZERO, measured: Duration::ZERO })
    }

    /// Sends the load for a while, to all pools in turn. Both replicas get as many connections.
    async fn round(&mut self, args: &PoolsArgs) -> Result<(), Failure> {
        let mut clients = Vec::new();
        for port in self.ports.iter().cycle().take(args.pools.into()) {
            clients.push(connect(address(*port)).await?);
        }
        let load = Paced::start(clients, plan(), args.rate);
        sleep(WARM_UP).await;
        drop(load.take());
        let (began, used) = (Instant::now(), self.server.cpu()?);
        sleep(Duration::from_secs_f64(args.seconds)).await;
        let account = load.take();
        self.cpu += self.server.cpu()?.saturating_sub(used);
        self.measured += began.elapsed();
        if let Some(why) = account.why {
            return Err(format!("a request failed: {why}"));
        }
        self.decisions_ms.extend(account.decisions_ms);
        Ok(())
    }

    fn row(self) -> Result<Vec<Cell>, Failure> {
        let count = self.decisions_ms.len() as u64;
        let spread = Spread::of(self.decisions_ms);
        Ok(vec![
            Cell::Count(self.ports.len() as u64),
            Cell::Count(count),
            Cell::Figure(spread.p50, 2),
            Cell::Figure(spread.p99, 2),
            Cell::Figure(100.0 * self.cpu.as_secs_f64() / self.measured.as_secs_f64(), 1),
            Cell::Figure(peak_memory_kib(self.server.pid)? as f64 / 1024.0, 0),
        ])
    }
}

fn plan() -> Plan {
    Plan::new(BODY_BYTES, 0, 1)
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

async fn answers(port: u16) -> Result<(), Failure> {
    exchange(&mut connect(address(port)).await?, &plan(), FIRST).await.map(drop)
}

/// Ports that are free, below those that the system gives to connections: one of these could take a port before the
/// replica does.
fn free_ports(count: usize) -> Result<Vec<u16>, Failure> {
    let is_free = |port: &u16| TcpListener::bind(address(*port)).is_ok();
    let ports: Vec<u16> = PORTS.filter(is_free).take(count).collect();
    if ports.len() < count { Err(format!("no {count} ports of {PORTS:?} are free")) } else { Ok(ports) }
}
