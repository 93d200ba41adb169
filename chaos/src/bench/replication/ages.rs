//! How old a fact is when a peer first decides by it: from the moment it was true on one replica until another shows it.
//!
//! A dispatch counts from the moment the request was handed to its replica's mailbox, so its own decision is in it. A
//! load report counts from the moment its keeper shows it. Replicas are looked at every millisecond through the same
//! mailbox that requests come by, and a look is dated when its answer came: every figure is an upper bound.
//!
//! Must not know lanes.

use std::net::SocketAddr;
use std::time::Duration;

use murmuration::replication::{Keeper, Keepers};
use murmuration_actors::scheduler::{Asking, SchedulerHandle};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::engines::set_waiting;
use super::nest::{Bird, name};
use super::probe::{Held, Probe, endpoint, key};
use crate::bench::Failure;

/// From one look to the next.
const LOOK: Duration = Duration::from_millis(1);
/// From one probe to the next.
const PAUSE: Duration = Duration::from_millis(20);
/// A fact that is not seen after this time has been lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// Queues that a probe sets begin here, and no other one is so long.
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

/// Probes `birds` in turns for `seconds`, and longer where that was less than `least` rounds.
pub(super) async fn measure(birds: &[&Bird], seconds: f64, least: u64) -> Result<Ages, Failure> {
    let minds: Vec<SchedulerHandle> = birds.iter().map(|bird| bird.replica.scheduler().clone()).collect();
    let engines = engines(minds.first().ok_or("no replica to probe")?).await?;
    let (mut ages, began, mut round) = (Ages::default(), Instant::now(), 0);
    while round < least || began.elapsed().as_secs_f64() < seconds {
        // A prime step, so that neighbours in the list are not probed one after the other.
        let at = engines[(round as usize * 37) % engines.len()];
        dispatch(&minds, Probe::new(round, at), &mut ages).await?;
        report(&minds, at, QUEUE + round as u32, &mut ages).await?;
        sleep(PAUSE).await;
        round += 1;
    }
    Ok(ages)
}

async fn engines(mind: &SchedulerHandle) -> Result<Vec<SocketAddr>, Failure> {
    let summary = mind.summary().await.ok_or("a replica does not answer")?;
    let engines: Vec<_> = summary.endpoints.iter().map(|one| one.endpoint.address).collect();
    if engines.is_empty() { Err("the pool is empty".to_owned()) } else { Ok(engines) }
}

/// One request, and until every other replica knows of its work and of its prefix.
async fn dispatch(minds: &[SchedulerHandle], probe: Probe, ages: &mut Ages) -> Result<(), Failure> {
    let asked = probe_origin(minds, probe);
    let mut peers = Vec::new();
    for mind in minds.iter().enumerate().filter(|(i, _)| *i != asked).map(|(_, mind)| mind) {
        peers.push((mind, held(mind, probe.at).await?, false, false));
    }
    let mind = minds.get(asked).ok_or("no replica to ask")?;
    let began = Instant::now();
    let (_open, _) = mind.ask(probe.request()).await.map_err(|refusal| format!("a probe was refused: {refusal:?}"))?;
    while peers.iter().any(|(.., work, prefix)| !(*work && *prefix)) {
        for (mind, before, work, prefix) in peers.iter_mut().filter(|(.., work, prefix)| !(*work && *prefix)) {
            let (now, age) = (held(mind, probe.at).await?, ms(began));
            if !*work && now.has_its_work(*before) {
                *work = true;
                ages.in_flight.push(age);
            }
            if !*prefix && now.has_its_prefix(*before) {
                *prefix = true;
                ages.placements.push(age);
            }
        }
        patient(began, "a dispatch")?;
        sleep(LOOK).await;
    }
    Ok(())
}

fn probe_origin(minds: &[SchedulerHandle], probe: Probe) -> usize {
    usize::from(probe.at.port()) % minds.len().max(1)
}

/// One change of an engine's queue, from where its keeper shows it until all others do.
async fn report(minds: &[SchedulerHandle], at: SocketAddr, queue: u32, ages: &mut Ages) -> Result<(), Failure> {
    let summary = minds.first().ok_or("no replica to ask")?.summary().await.ok_or("a replica does not answer")?;
    let key = key(&summary, at).ok_or("an endpoint has left the pool")?;
    let all = (0..minds.len()).map(|number| Keeper { replica: name(number), zone: String::new() });
    let keepers = Keepers::new(all.collect());
    let keeper = (0..minds.len()).find(|number| keepers.rank(&name(*number), key, "") == 0);
    let keeper = keeper.ok_or("an endpoint has no keeper")?;
    set_waiting(at, queue).await?;
    let set = Instant::now();
    while !shows(&minds[keeper], at, queue).await? {
        patient(set, "a queue")?;
        sleep(LOOK).await;
    }
    let began = Instant::now();
    let mut peers: Vec<_> = minds.iter().enumerate().filter(|(i, _)| *i != keeper).map(|(_, mind)| mind).collect();
    while !peers.is_empty() {
        let mut blind = Vec::new();
        for mind in peers {
            match shows(mind, at, queue).await? {
                true => ages.load.push(ms(began)),
                false => blind.push(mind),
            }
        }
        peers = blind;
        patient(began, "a load report")?;
        sleep(LOOK).await;
    }
    set_waiting(at, 0).await
}

async fn shows(mind: &SchedulerHandle, at: SocketAddr, queue: u32) -> Result<bool, Failure> {
    let summary = mind.summary().await.ok_or("a replica does not answer")?;
    Ok(endpoint(&summary, at).and_then(|one| one.report.as_ref()).is_some_and(|report| report.waiting == queue))
}

async fn held(mind: &SchedulerHandle, at: SocketAddr) -> Result<Held, Failure> {
    let summary = mind.summary().await.ok_or("a replica does not answer")?;
    Held::of(&summary, at).ok_or_else(|| format!("the endpoint {at} has left the pool"))
}

fn patient(since: Instant, what: &str) -> Result<(), Failure> {
    if since.elapsed() < PATIENCE { Ok(()) } else { Err(format!("{what} was not seen by all within {PATIENCE:?}")) }
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
