//! What it costs to be a flock, and how old what a replica hears is: real replicas in this process, on loopback, with
//! sealed gossip and mutual TLS, many engines' pages, and a steady load on every scheduler.
//!
//! Ages are true: one process has one clock, so from the moment one replica's own books show a fact until another's do is
//! measured, and not told by the lane. Must not know how a lane works.

mod ages;
mod load;
mod tier;

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::args::FlockArgs;
use super::pages::Pages;
use super::spread::Spread;
use super::table::{Cell, Table};
use super::{Failure, cpu};
use ages::Ages;
use load::Load;
use tier::{Sharing, Tier};

/// Connections are up and everybody has met after this long.
const WARM_UP: Duration = Duration::from_secs(2);
/// An interval at which nothing is scraped: for measuring sharing alone.
const NEVER: Duration = Duration::from_secs(3600);

/// Measures tiers of each size, by both lanes and by gossip alone.
pub(super) async fn run(args: &FlockArgs) -> Result<Table, Failure> {
    let columns = [
        "replicas",
        "sharing",
        "in_flight_p50_ms",
        "in_flight_p99_ms",
        "placement_p99_ms",
        "load_p99_ms",
        "stream_mbit_s",
        "gossip_mbit_s",
        "core_share",
        "scrapes_per_engine_s",
        "dead_gone_s",
    ];
    let mut table = Table::new("flock", &columns)
        .about("endpoints", u64::from(args.endpoints))
        .about("requests_per_s", args.rate)
        .about("seconds", args.seconds);
    for &replicas in &args.replicas {
        let alone = cores(args, replicas, None).await?;
        for sharing in [Sharing::Streams, Sharing::Gossip] {
            if replicas < 2 && sharing == Sharing::Gossip {
                continue;
            }
            table.row(row(args, replicas, sharing, alone).await?);
        }
    }
    Ok(table)
}

async fn row(args: &FlockArgs, replicas: usize, sharing: Sharing, alone: f64) -> Result<Vec<Cell>, Failure> {
    let shared = cores(args, replicas, Some(sharing)).await?;
    let pages = Pages::serve(args.endpoints, None).await?;
    let mut tier = Tier::start(replicas, &pages.addresses, Some(sharing), Duration::from_millis(50)).await?;
    let load = Load::start(&tier, args.rate);
    sleep(WARM_UP).await;
    let (began, sent, served) = (Instant::now(), tier.sent(), pages.served());
    let ages = if replicas > 1 { Ages::measure(&tier, args.probes).await } else { Ages::default() };
    let rest = Duration::from_secs_f64(args.seconds).saturating_sub(began.elapsed());
    sleep(rest).await;
    let took = began.elapsed().as_secs_f64();
    let rate = |bytes: f64| bytes * 8.0 / 1e6 / took / replicas as f64;
    let (stream, gossip) = (rate(tier.sent().0 - sent.0), rate(tier.sent().1 - sent.1));
    let scrapes = (pages.served() - served) as f64 / took / f64::from(args.endpoints);
    let gone = if replicas > 1 { Some(tier.kill_one().await) } else { None };
    drop(load);
    let in_flight = Spread::of(ages.in_flight);
    let figure = |seconds: f64, decimals| if replicas > 1 { Cell::Figure(seconds, decimals) } else { Cell::Nothing };
    Ok(vec![
        Cell::Count(replicas as u64),
        Cell::Word(sharing.as_str().to_owned()),
        figure(in_flight.p50 * 1e3, 1),
        figure(in_flight.p99 * 1e3, 1),
        figure(Spread::of(ages.placement).p99 * 1e3, 1),
        figure(Spread::of(ages.load).p99 * 1e3, 1),
        figure(stream, 2),
        figure(gossip, 2),
        figure((shared - alone).max(0.0) / replicas as f64, 3),
        Cell::Figure(scrapes, 1),
        gone.map_or(Cell::Nothing, |gone| Cell::Figure(gone.as_secs_f64(), 2)),
    ])
}

/// Cores that this process uses under the load alone, nothing scraped: with and without sharing, the difference is what
/// sharing costs.
async fn cores(args: &FlockArgs, replicas: usize, sharing: Option<Sharing>) -> Result<f64, Failure> {
    let nowhere: Vec<_> = (0..args.endpoints).map(|n| ([127, 0, 0, 1], 1 + n).into()).collect();
    let tier = Tier::start(replicas, &nowhere, sharing, NEVER).await?;
    let load = Load::start(&tier, args.rate);
    sleep(WARM_UP).await;
    let (began, before) = (Instant::now(), cpu::used(std::process::id())?);
    sleep(Duration::from_secs_f64(args.seconds)).await;
    let used = cpu::used(std::process::id())?.saturating_sub(before);
    drop(load);
    Ok(used.as_secs_f64() / began.elapsed().as_secs_f64())
}
