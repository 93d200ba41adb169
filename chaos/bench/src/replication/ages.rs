//! How old a fact is when a peer first uses it: from the moment it was true on one replica until another shows it.
//!
//! A dispatch counts from the moment the request was sent to its replica's mailbox, so it includes the decision. A load
//! report counts from the moment its keeper shows it. Replicas are read every millisecond through the mailbox that
//! requests use, and a reading gets the time of its answer: every figure is an upper bound.
//!
//! Must not know lanes.

use std::net::SocketAddr;
use std::time::Duration;

use murmuration::replication::{Keeper, Keepers};
use murmuration_actors::scheduler::{Decider, SchedulerHandle};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::engines::set_waiting;
use super::probe::{Probe, check_deadline, endpoint, held, key};
use super::replica_host::{HostedReplica, name};
use crate::Failure;

/// Time between two readings.
const READ_INTERVAL: Duration = Duration::from_millis(1);
/// Time between two probes.
const PAUSE: Duration = Duration::from_millis(20);
/// A fact that is not seen after this time has been lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// Probes set queue lengths from here on; no other queue is this long.
const QUEUE: u32 = 1_000;

/// Ages of facts, in ms, a figure for each probe and each peer.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Ages {
    /// Of open work.
    pub(super) in_flight: Vec<f64>,
    /// Of placements.
    pub(super) placements: Vec<f64>,
    /// Of load reports.
    pub(super) load: Vec<f64>,
}

/// Probes all replicas for `seconds`, and longer until there were `least` rounds.
pub(super) async fn measure(replicas: &[&HostedReplica], seconds: f64, least: u64) -> Result<Ages, Failure> {
    let schedulers: Vec<SchedulerHandle> = replicas.iter().map(|hosted| hosted.replica.scheduler().clone()).collect();
    let engines = engines(schedulers.first().ok_or("no replica to probe")?).await?;
    let (mut ages, began, mut round) = (Ages::default(), Instant::now(), 0);
    while round < least || began.elapsed().as_secs_f64() < seconds {
        // A prime step, so that neighbours in the list are not probed one after the other.
        let at = engines[(round as usize * 37) % engines.len()];
        dispatch(&schedulers, Probe::new(round, at), &mut ages).await?;
        report(&schedulers, at, QUEUE + round as u32, &mut ages).await?;
        sleep(PAUSE).await;
        round += 1;
    }
    Ok(ages)
}

async fn engines(scheduler: &SchedulerHandle) -> Result<Vec<SocketAddr>, Failure> {
    let summary = scheduler.summary().await.ok_or("a replica does not answer")?;
    let engines: Vec<_> = summary.endpoints.iter().map(|one| one.endpoint.address).collect();
    if engines.is_empty() { Err("the pool is empty".to_owned()) } else { Ok(engines) }
}

/// Sends one request, and waits until every other replica knows of its work and of its prefix.
async fn dispatch(schedulers: &[SchedulerHandle], probe: Probe, ages: &mut Ages) -> Result<(), Failure> {
    let asked = probe_origin(schedulers, probe);
    let mut peers = Vec::new();
    for scheduler in schedulers.iter().enumerate().filter(|(i, _)| *i != asked).map(|(_, scheduler)| scheduler) {
        peers.push((scheduler, held(scheduler, probe.at).await?, false, false));
    }
    let scheduler = schedulers.get(asked).ok_or("no replica to ask")?;
    let began = Instant::now();
    let (_open, _) =
        scheduler.ask(probe.request()).await.map_err(|refusal| format!("a probe was refused: {refusal:?}"))?;
    while peers.iter().any(|(.., work, prefix)| !(*work && *prefix)) {
        for (scheduler, before, work, prefix) in peers.iter_mut().filter(|(.., work, prefix)| !(*work && *prefix)) {
            let (now, age) = (held(scheduler, probe.at).await?, ms(began));
            if !*work && now.has_its_work(*before) {
                *work = true;
                ages.in_flight.push(age);
            }
            if !*prefix && now.has_its_prefix(*before) {
                *prefix = true;
                ages.placements.push(age);
            }
        }
        check_deadline(began, PATIENCE, "a dispatch was not seen by all")?;
        sleep(READ_INTERVAL).await;
    }
    Ok(())
}

fn probe_origin(schedulers: &[SchedulerHandle], probe: Probe) -> usize {
    usize::from(probe.at.port()) % schedulers.len().max(1)
}

/// Changes an engine's queue, and waits from the moment its keeper shows it until all others do.
async fn report(schedulers: &[SchedulerHandle], at: SocketAddr, queue: u32, ages: &mut Ages) -> Result<(), Failure> {
    let summary = schedulers.first().ok_or("no replica to ask")?.summary().await.ok_or("a replica does not answer")?;
    let key = key(&summary, at).ok_or("an endpoint has left the pool")?;
    let all = (0..schedulers.len()).map(|number| Keeper { replica: name(number), zone: String::new() });
    let keepers = Keepers::new(all.collect());
    let keeper = (0..schedulers.len()).find(|number| keepers.rank(&name(*number), key, "") == 0);
    let keeper = keeper.ok_or("an endpoint has no keeper")?;
    set_waiting(at, queue).await?;
    let set = Instant::now();
    while !shows(&schedulers[keeper], at, queue).await? {
        check_deadline(set, PATIENCE, "a queue was not seen by all")?;
        sleep(READ_INTERVAL).await;
    }
    let began = Instant::now();
    let mut peers: Vec<_> =
        schedulers.iter().enumerate().filter(|(i, _)| *i != keeper).map(|(_, scheduler)| scheduler).collect();
    while !peers.is_empty() {
        let mut waiting = Vec::new();
        for scheduler in peers {
            match shows(scheduler, at, queue).await? {
                true => ages.load.push(ms(began)),
                false => waiting.push(scheduler),
            }
        }
        peers = waiting;
        check_deadline(began, PATIENCE, "a load report was not seen by all")?;
        sleep(READ_INTERVAL).await;
    }
    set_waiting(at, 0).await
}

async fn shows(scheduler: &SchedulerHandle, at: SocketAddr, queue: u32) -> Result<bool, Failure> {
    let summary = scheduler.summary().await.ok_or("a replica does not answer")?;
    Ok(endpoint(&summary, at).and_then(|one| one.report.as_ref()).is_some_and(|report| report.waiting == queue))
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
