//! A replica behind a real Envoy whose scheduler is killed repeatedly. Measures the outcomes of requests, and the time
//! until every endpoint is known again. Envoy retries a call to the picker as in a tier; nothing else is retried.
//!
//! Must not know how a scheduler restarts. The replica is in this process, so that its parts can be killed.

use std::sync::Arc;
use std::time::Duration;

use murmuration_kit::pool::EndpointsFile;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::Failure;
use super::args::{Lanes, ReplicationHostArgs, SchedulerDeathArgs};
use super::body;
use super::envoy::engines::Engines;
use super::envoy::stage::testbed;
use super::envoy::way::Way;
use super::replication::replica_host::{HostedReplica, ReplicaHost};
use super::spread::Spread;
use super::table::{Cell, Table};
use murmuration_simulation::plan::ResponsePath;

/// Scrape interval of an engine in ms: the default of `serve`.
const SCRAPE_MS: u64 = 50;
/// Time between two kills.
const PAUSE: Duration = Duration::from_secs(2);
/// Time between two readings of the scheduler.
const READ_INTERVAL: Duration = Duration::from_millis(2);
/// How long a scheduler may take to know all endpoints.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of each request's body.
const BODY_BYTES: usize = 4 << 10;
const PART: &str = "scheduler";

/// Measures requests and restarts.
pub(super) async fn run(args: &SchedulerDeathArgs) -> Result<Table, Failure> {
    let engines = Engines::serve(Duration::ZERO).await?;
    let file = EndpointsFile::with(&engines.addresses)?;
    let endpoints = file.path().to_owned();
    let replica_host = ReplicaHost::prepare(&ReplicationHostArgs {
        replicas: 1,
        lanes: Lanes::None,
        zones: 1,
        interval: SCRAPE_MS,
        endpoints,
    })?;
    let hosted = replica_host.start(0, None).await?;
    let pickers = vec![hosted.replica.addresses().ext_proc];
    let testbed = testbed(ResponsePath::Stay, &engines.addresses, args.envoy.as_deref(), None, pickers).await?;
    let entrance = testbed.foreign.first().copied().ok_or("the testbed has no entrance to the replica")?;
    let way = Way::new("ours", Some("stay"), entrance, 0, Some(std::process::id()));
    let measured = measure(args, &hosted, &way, engines.addresses.len()).await;
    for name in testbed.stop().await {
        eprintln!("{name} had to be killed");
    }
    measured
}

async fn measure(
    args: &SchedulerDeathArgs,
    hosted: &HostedReplica,
    way: &Way,
    endpoints: usize,
) -> Result<Table, Failure> {
    let columns =
        ["kills", "requests", "failed", "request_p50_ms", "request_p99_ms", "request_max_ms", "known_again_max_ms"];
    let mut table = Table::new("scheduler-death", &columns).about("rate", args.rate);
    let (mut tasks, until) = (JoinSet::new(), Arc::new(tokio::sync::Notify::new()));
    tasks.spawn(send_requests(way.clone(), args.rate, until.clone()));
    let mut known_again = Duration::ZERO;
    for kill in 1..=args.kills {
        sleep(PAUSE).await;
        if !hosted.replica.kill_part(PART) {
            return Err("the scheduler does not run".to_owned());
        }
        known_again = known_again.max(until_known(hosted, kill, endpoints).await?);
    }
    sleep(PAUSE).await;
    until.notify_one();
    let asked = tasks.join_next().await.ok_or("no requests")?.map_err(|why| format!("the load ended: {why}"))?;
    let (well, failed): (Vec<_>, Vec<_>) = asked.into_iter().partition(Result::is_ok);
    failed.iter().flat_map(|failed| failed.as_ref().err()).take(3).for_each(|why| eprintln!("failed: {why}"));
    let times: Vec<f64> = well.into_iter().flatten().map(|took| took.as_secs_f64() * 1e3).collect();
    let longest = times.iter().copied().fold(0.0, f64::max);
    let (requests, spread) = (times.len() + failed.len(), Spread::of(times));
    table.row(vec![
        Cell::Count(args.kills),
        Cell::Count(requests as u64),
        Cell::Count(failed.len() as u64),
        Cell::Figure(spread.p50, 1),
        Cell::Figure(spread.p99, 1),
        Cell::Figure(longest, 1),
        Cell::Figure(known_again.as_secs_f64() * 1e3, 0),
    ]);
    Ok(table)
}

/// Waits until the scheduler that starts after this `kill` has a report of all endpoints; returns the time it took.
async fn until_known(hosted: &HostedReplica, kill: u64, endpoints: usize) -> Result<Duration, Failure> {
    let killed = Instant::now();
    loop {
        let started = hosted.metric("murmuration_actor_restarts_total{kind=\"scheduler\"}") >= kill as f64;
        if let Some(summary) = hosted.replica.scheduler().summary().await.filter(|_| started)
            && summary.endpoints.len() == endpoints
            && summary.endpoints.iter().all(|one| one.report.is_some())
        {
            return Ok(killed.elapsed());
        }
        if killed.elapsed() > PATIENCE {
            return Err(format!("the scheduler did not know all endpoints {PATIENCE:?} after it was killed"));
        }
        sleep(READ_INTERVAL).await;
    }
}

/// Sends `rate` requests per second until `until` is notified; returns the outcome of each.
async fn send_requests(way: Way, rate: u32, until: Arc<tokio::sync::Notify>) -> Vec<Result<Duration, Failure>> {
    let mut ticks = interval(Duration::from_secs(1) / rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut open = JoinSet::new();
    let mut number = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = until.notified() => return open.join_all().await,
        }
        let (way, body) = (way.clone(), body::chat(BODY_BYTES, number, false));
        number += 1;
        open.spawn(async move { way.ask(body.into(), 0).await });
    }
}
