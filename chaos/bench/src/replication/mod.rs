//! What sharing brings and costs: replicas that share and replicas that do not, under the same load.
//!
//! Each case runs its replicas in a process of their own; engines and load are in this one. Cost is measured first,
//! without probes; then ages, then deaths. N replicas that share nothing scrape N times less often. So together they
//! read as many pages as a tier that shares, and the difference in processor time is the cost of sharing.
//!
//! Must not know how facts travel.

mod ages;
mod case;
mod child;
mod death;
mod engines;
mod host;
mod probe;
pub(super) mod replica_host;

use murmuration_kit::machine::load_average;

use super::Failure;
use super::args::{Lanes, ReplicationArgs, ReplicationHostArgs};
use super::spread::Spread;
use super::table::{Cell, Table};
use case::{Case, Cost, Deaths};

/// Columns, in the order of [`row`].
const COLUMNS: [&str; 20] = [
    "replicas",
    "lanes",
    "in_flight_p50_ms",
    "in_flight_p99_ms",
    "placement_p50_ms",
    "placement_p99_ms",
    "load_p50_ms",
    "load_p99_ms",
    "stream_mbit",
    "gossip_mbit",
    "other_zones_mbit",
    "batches_received_per_s",
    "facts_per_batch",
    "cpu_pct",
    "sharing_cpu_pct",
    "scrapes_per_engine",
    "clean_s",
    "successor_s",
    "ready_s",
    "load_average",
];

/// Measures all cases.
pub(super) async fn run(args: &ReplicationArgs) -> Result<Table, Failure> {
    let mut table =
        Table::new("replication", &COLUMNS).about("seconds", args.seconds).about("requests_per_s", args.rate);
    table = table.about("endpoints", args.endpoints).about("deaths", args.deaths).about("probes", args.probes);
    table = table.about("zones", args.zones);
    let case = Case::prepare(args).await?;
    let unshared = case.cost(1, Lanes::None).await?;
    table.row(row(1, Lanes::None, &unshared, None, None, None)?);
    for &replicas in &args.replicas {
        let unshared = case.cost(replicas, Lanes::None).await?;
        table.row(row(replicas, Lanes::None, &unshared, None, None, None)?);
        for &lanes in &args.lanes {
            let (mut running, cost) = case.start(replicas, lanes).await?;
            let ages = running.ages(args.seconds, args.probes).await?;
            let deaths = running.deaths(args.deaths).await?;
            table.row(row(replicas, lanes, &cost, Some(&unshared), Some(&ages), Some(&deaths))?);
        }
    }
    Ok(table)
}

/// Hosts the replicas of one case.
pub(super) async fn host(args: &ReplicationHostArgs) -> Result<(), Failure> {
    host::run(args).await
}

fn row(
    replicas: usize,
    lanes: Lanes,
    cost: &Cost,
    unshared: Option<&Cost>,
    ages: Option<&ages::Ages>,
    deaths: Option<&Deaths>,
) -> Result<Vec<Cell>, Failure> {
    let mut row = vec![Cell::Count(replicas as u64), Cell::Word(lanes.as_str().to_owned())];
    let of = |figures: fn(&ages::Ages) -> &Vec<f64>| ages.map(|ages| Spread::of(figures(ages).clone()));
    for spread in [of(|ages| &ages.in_flight), of(|ages| &ages.placements), of(|ages| &ages.load)] {
        row.extend([figure(spread.map(|s| s.p50), 1), figure(spread.map(|s| s.p99), 1)]);
    }
    let shared = unshared.map(|unshared| (cost.cpu_pct - unshared.cpu_pct, cost));
    row.extend([
        figure(shared.map(|(_, cost)| cost.stream_mbit), 2),
        figure(shared.map(|(_, cost)| cost.gossip_mbit), 2),
        figure(shared.map(|(_, cost)| cost.far_mbit), 2),
        figure(shared.map(|(_, cost)| cost.batches_received), 0),
        figure(shared.map(|(_, cost)| cost.facts_a_batch), 1),
    ]);
    row.extend([Cell::Figure(cost.cpu_pct, 1), figure(shared.map(|(share, _)| share), 1)]);
    row.push(Cell::Figure(cost.scrapes_per_engine, 1));
    let death = |worst: fn(&Deaths) -> f64| figure(deaths.map(worst), 2);
    row.extend([death(|deaths| deaths.clean_s), death(|deaths| deaths.successor_s), death(|deaths| deaths.ready_s)]);
    row.push(Cell::Figure(load_average()?, 1));
    Ok(row)
}

fn figure(figure: Option<f64>, decimals: usize) -> Cell {
    figure.map_or(Cell::Nothing, |figure| Cell::Figure(figure, decimals))
}
