//! Observes the replicas during a storm: what each believes of the others, how old facts are, whether all answer alike.
//!
//! Must not know which replica was hit when; a replica that does not answer is recorded as such.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use murmuration_actors::admin::client::fetch;
use murmuration_kit::metrics;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::traffic::question;
use crate::check::{ReplicaAccess, Then, ask};
use crate::peers_page::PeersPage;

/// Interval between two observations of every replica's peers.
pub(super) const OBSERVE_EVERY: Duration = Duration::from_millis(100);
/// Interval between two readings of every replica's metrics, and between two questions to all.
pub(super) const READ_EVERY: Duration = Duration::from_secs(1);
/// How long a replica may take to show a page or to answer a question.
const PATIENCE: Duration = Duration::from_millis(800);

/// What one replica believed of the others at one moment.
#[derive(Clone, Debug)]
pub(super) struct Observation {
    /// Number of the round; observations with one number were made at one moment.
    pub(super) number: u64,
    pub(super) at: Duration,
    pub(super) replica: usize,
    /// `None` if it did not answer.
    pub(super) seen: Option<PeersPage>,
}

/// Metrics of one replica at one moment, counted since its start.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    pub(super) at: Duration,
    pub(super) replica: usize,
    /// Cumulative counts of facts by age (upper edge in seconds), by lane.
    pub(super) ages: BTreeMap<String, Vec<(f64, f64)>>,
    /// Decisions made.
    pub(super) decisions: f64,
    /// Open ext-proc streams.
    pub(super) streams: f64,
}

/// One question to all replicas that should answer.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) at: Duration,
    /// Answers by replica; missing ones are left out.
    pub(super) answers: BTreeMap<usize, String>,
}

/// All observations.
#[derive(Clone, Debug, Default)]
pub(super) struct Observations {
    pub(super) seen: Vec<Observation>,
    pub(super) readings: Vec<Reading>,
    pub(super) asked: Vec<Asked>,
}

/// What is observed.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub(super) admin: Vec<SocketAddr>,
    pub(super) replication: Option<ReplicaAccess>,
    pub(super) model: String,
    pub(super) streams: bool,
}

/// How far a storm is, for the watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Clients send requests.
    Load,
    /// No requests any more, not even the watcher's: a question changes what replicas believe.
    Quiet,
    /// The storm is over.
    Over,
}

// === impl Asked ===

impl Asked {
    /// The share of answers that equal the most common one; `None` if fewer than two replicas answered.
    pub(super) fn agreement(&self) -> Option<f64> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        self.answers.values().for_each(|answer| *counts.entry(answer).or_default() += 1);
        let most = counts.into_values().max()?;
        (self.answers.len() > 1).then(|| most as f64 / self.answers.len() as f64)
    }
}

/// Observes until the storm is over. Replicas in `away` are not asked.
pub(super) async fn watch(
    watched: Watched,
    started: Instant,
    away: watch::Receiver<BTreeSet<usize>>,
    mut stage: watch::Receiver<Stage>,
) -> Observations {
    let mut observations = Observations::default();
    let ticks = |every| {
        let mut ticks = interval_at(started, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks
    };
    let (mut looking, mut reading) = (ticks(OBSERVE_EVERY), ticks(READ_EVERY));
    let (mut looks, mut readings, mut questions) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
    let mut number = 0;
    loop {
        tokio::select! {
            biased;
            changed = stage.changed() => {
                if changed.is_err() || *stage.borrow_and_update() == Stage::Over {
                    break;
                }
            }
            Some(Ok(look)) = looks.join_next() => observations.seen.push(look),
            Some(Ok(Some(one))) = readings.join_next() => observations.readings.push(one),
            Some(Ok(asked)) = questions.join_next() => observations.asked.push(asked),
            _ = looking.tick() => {
                number += 1;
                for (replica, at) in watched.admin.iter().enumerate() {
                    looks.spawn(observe(number, started, replica, *at, watched.streams));
                }
            }
            _ = reading.tick() => {
                for (replica, at) in watched.admin.iter().enumerate() {
                    readings.spawn(read(started, replica, *at));
                }
                if let (Some(replication), Stage::Load) = (watched.replication.clone(), *stage.borrow()) {
                    let body = question(&watched.model, number);
                    questions.spawn(ask_all(started, replication, body, away.borrow().clone()));
                }
            }
        }
    }
    observations.seen.sort_by_key(|look| (look.number, look.replica));
    observations.readings.sort_by_key(|reading| reading.at);
    observations.asked.sort_by_key(|asked| asked.at);
    observations
}

async fn page(at: SocketAddr, path: &str) -> Option<String> {
    match timeout(PATIENCE, fetch(at, path)).await {
        Ok(Ok((status, text))) if status.is_success() => Some(text),
        _ => None,
    }
}

async fn observe(number: u64, started: Instant, replica: usize, admin: SocketAddr, streams: bool) -> Observation {
    let at = started.elapsed();
    let text = page(admin, "/debug/peers").await;
    let seen = text.and_then(|text| PeersPage::read(&text, streams));
    Observation { number, at, replica, seen }
}

/// One reading of a replica's metrics.
pub(super) async fn read(started: Instant, replica: usize, admin: SocketAddr) -> Option<Reading> {
    let text = page(admin, "/metrics").await?;
    let mut reading = Reading { at: started.elapsed(), replica, ..Reading::default() };
    for (name, labels, value) in metrics::samples(&text) {
        match name {
            "murmuration_peer_fact_age_seconds_bucket" => {
                let (Some(lane), Some(most)) = (metrics::label(labels, "lane"), metrics::label(labels, "le")) else {
                    continue;
                };
                let most = most.parse().unwrap_or(f64::INFINITY);
                reading.ages.entry(lane.to_owned()).or_default().push((most, value));
            }
            "llm_d_epp_scheduler_attempts_total" => reading.decisions += value,
            "llm_d_epp_extproc_streams_inflight" => reading.streams += value,
            _ => {}
        }
    }
    Some(reading)
}

/// Requests that an engine computes or keeps waiting; `None` if it does not answer.
pub(super) async fn open_requests(engine: SocketAddr) -> Option<u64> {
    let text = page(engine, "/metrics").await?;
    let open = metrics::samples(&text)
        .filter(|(name, ..)| matches!(*name, "vllm:num_requests_running" | "vllm:num_requests_waiting"));
    Some(open.map(|(.., value)| value as u64).sum())
}

async fn ask_all(started: Instant, replication: ReplicaAccess, body: Vec<u8>, away: BTreeSet<usize>) -> Asked {
    let at = started.elapsed();
    let mut asking = JoinSet::new();
    for (replica, address) in
        replication.ext_proc.iter().copied().enumerate().filter(|(replica, _)| !away.contains(replica))
    {
        let (authority, body) = (replication.authority.clone(), body.clone());
        asking.spawn(async move { (replica, timeout(PATIENCE, ask(address, &authority, &body, Then::Served)).await) });
    }
    let mut answers = BTreeMap::new();
    while let Some(answer) = asking.join_next().await {
        if let Ok((replica, Ok(Ok(answer)))) = answer {
            answers.insert(replica, answer);
        }
    }
    Asked { at, answers }
}
