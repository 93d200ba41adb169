//! The scheduler's actor with all that a replica sends it: decisions per second, and how long other messages wait.
//!
//! Clients ask, send what a stream sends about its ticket, and ask again. Every endpoint reports each 50 ms. Meanwhile
//! a probe asks for an explanation, which costs next to nothing, so its time is what messages wait in the mailbox. Each
//! row has a runtime of its own with as many threads as the row says.
//!
//! Must not know how the actor orders its work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use murmuration::chance::Chance;
use murmuration::config;
use murmuration::fleet::{LoadReport, Observation};
use murmuration::request::{InferenceRequest, Outcome};
use murmuration_actors::clock::Clock;
use murmuration_actors::environment::Announcement;
use murmuration_actors::latest_value::LatestValue;
use murmuration_actors::scheduler::{Decider, Report, SchedulerActor, SchedulerArguments, SchedulerHandle};
use murmuration_actors::telemetry::Telemetry;
use murmuration_actors::telemetry::span::Tracer;
use ractor::Actor;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::args::ActorArgs;
use super::decision::{Pool, Prompts, endpoint};
use super::spread::Spread;
use super::table::{Cell, Table};
use super::{Failure, pool};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two reports of an endpoint: the interval of a replica's scrapes.
const REPORT_EVERY: Duration = Duration::from_millis(50);
/// Time between two probes of the mailbox.
const PROBE_EVERY: Duration = Duration::from_millis(2);
/// Different requests; clients repeat them under other ids.
const REQUESTS: usize = 2_048;
/// Time before anything is counted.
const WARM_UP: Duration = Duration::from_millis(500);

/// What all tasks of a row share.
struct Scene {
    handle: SchedulerHandle,
    requests: Vec<InferenceRequest>,
    asked: AtomicU64,
    counts: AtomicBool,
    over: AtomicBool,
}

/// Measures each number of endpoints with each number of threads.
pub(super) fn run(args: &ActorArgs) -> Result<Table, Failure> {
    let columns = [
        "endpoints",
        "threads",
        "decisions_s",
        "ask_p50_us",
        "ask_p99_us",
        "message_p50_us",
        "message_p99_us",
        "open_at_end",
    ];
    let mut table = Table::new("actor", &columns).about("blocks", args.blocks as u64).about("clients", args.clients);
    for &endpoints in &args.endpoints {
        for &threads in &args.threads {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
            let runtime = runtime.map_err(|why| format!("no runtime: {why}"))?;
            let mut row = vec![Cell::Count(endpoints.into()), Cell::Count(threads as u64)];
            row.extend(
                runtime
                    .block_on(async { tokio::spawn(measure(endpoints, args.clone())).await })
                    .map_err(|why| format!("{why}"))??,
            );
            table.row(row);
        }
    }
    Ok(table)
}

async fn measure(endpoints: u16, args: ActorArgs) -> Result<Vec<Cell>, Failure> {
    let (current, handle) = SchedulerHandle::unstarted(PATIENCE);
    let all = (0..endpoints).map(endpoint).collect();
    let announcement = Announcement { endpoints: all, ..Announcement::default() };
    let (_announced, known) = watch::channel(Some(Arc::new(announcement)));
    let arguments = SchedulerArguments {
        build: Arc::new(|| pool::parts(false, config::default_text(), pool::INDEX_BYTES_MAX)),
        clock: Clock::start(),
        telemetry: Telemetry::new("bench", Tracer::default()).map_err(|why| why.to_string())?,
        handle: handle.clone(),
        announced: known,
        publisher: None,
        keeping: None,
        first_ticket: 0,
    };
    let started = Actor::spawn(None, SchedulerActor, arguments).await;
    let (actor, ended) = started.map_err(|why| format!("the scheduler did not start: {why}"))?;
    current.send_replace(Some(actor.clone()));
    let mut pool = Pool::new(Prompts::Turns, endpoints, args.blocks)?;
    let requests = (0..REQUESTS).map(|_| pool.next_conversation()).collect();
    let flags = (AtomicBool::new(false), AtomicBool::new(false));
    let scene = Arc::new(Scene { handle, requests, asked: AtomicU64::new(0), counts: flags.0, over: flags.1 });
    let reports = tokio::spawn(report(scene.clone(), endpoints));
    let probe = tokio::spawn(probe(scene.clone()));
    let mut clients = JoinSet::new();
    (0..args.clients).for_each(|_| drop(clients.spawn(client(scene.clone()))));
    sleep(WARM_UP).await;
    scene.counts.store(true, Ordering::Relaxed);
    let began = Instant::now();
    sleep(Duration::from_secs_f64(args.seconds)).await;
    scene.counts.store(false, Ordering::Relaxed);
    let took = began.elapsed().as_secs_f64();
    let open = scene.handle.summary().await.map(|summary| summary.tickets.open);
    scene.over.store(true, Ordering::Relaxed);
    let mut asks = Vec::new();
    while let Some(client) = clients.join_next().await {
        asks.extend(client.map_err(|why| why.to_string())??);
    }
    let waits = probe.await.map_err(|why| why.to_string())?;
    reports.await.map_err(|why| why.to_string())?;
    actor.stop(None);
    ended.await.map_err(|why| why.to_string())?;
    let per_second = asks.len() as f64 / took;
    let (asks, waits) = (Spread::of(asks), Spread::of(waits));
    let mut cells = vec![Cell::Figure(per_second, 0)];
    cells.extend([asks.p50, asks.p99, waits.p50, waits.p99].map(|us| Cell::Figure(us, 0)));
    cells.push(open.map_or(Cell::Nothing, Cell::Count));
    Ok(cells)
}

/// Asks, tells what a stream tells, and asks again. Returns the microseconds of each ask that counts.
async fn client(scene: Arc<Scene>) -> Result<Vec<f64>, Failure> {
    let mut waits = Vec::new();
    while !scene.over.load(Ordering::Relaxed) {
        let number = scene.asked.fetch_add(1, Ordering::Relaxed);
        let request = &scene.requests[number as usize % REQUESTS];
        let request = InferenceRequest { id: format!("{number:032x}"), ..request.clone() };
        let began = Instant::now();
        let answer = scene.handle.ask(request).await;
        if scene.counts.load(Ordering::Relaxed) {
            waits.push(began.elapsed().as_secs_f64() * 1e6);
        }
        let (reservation, _) = answer.map_err(|refusal| format!("the scheduler refused: {}", refusal.sentence))?;
        reservation.first_token();
        reservation.finish(Outcome::Completed, None);
    }
    Ok(waits)
}

/// Lets every endpoint report, as its watcher does.
async fn report(scene: Arc<Scene>, endpoints: u16) {
    let values: Vec<_> = (0..endpoints).map(|n| (endpoint(n).id, LatestValue::new())).collect();
    let (mut ticks, clock, mut chance) = (interval(REPORT_EVERY), Clock::start(), Chance::from_seed(2));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while !scene.over.load(Ordering::Relaxed) {
        ticks.tick().await;
        for (id, value) in &values {
            let running = 4 + chance.below(9) as u32;
            let report = LoadReport { running, kv_usage: 0.3, awake: true, ..LoadReport::default() };
            let observation = Observation { report, age: Duration::from_millis(2) };
            if let Some(notice) = value.put((Report::Load(observation), clock.now())) {
                scene.handle.report(id.clone(), notice);
            }
        }
    }
}

/// How long messages waited, in microseconds.
async fn probe(scene: Arc<Scene>) -> Vec<f64> {
    let (mut waits, mut ticks) = (Vec::new(), interval(PROBE_EVERY));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !scene.over.load(Ordering::Relaxed) {
        ticks.tick().await;
        let began = Instant::now();
        drop(scene.handle.explain("none".to_owned()).await);
        if scene.counts.load(Ordering::Relaxed) {
            waits.push(began.elapsed().as_secs_f64() * 1e6);
        }
    }
    waits
}
