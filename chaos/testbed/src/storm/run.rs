//! The course of a storm: the load runs, faults begin and end as planned, and a watcher observes.
//!
//! Must not know what is good or bad.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::fault_injector::{FaultInjector, Injection};
use super::traffic::{call, loads};
use super::watch::{Observations, Stage, Watched};
use crate::local::{Testbed, TestbedError};
use murmuration_kit::client::{Client, Load, Tally};
use murmuration_simulation::plan::Plan;

/// How long requests go on after the last fault.
pub(super) const TAIL: Duration = Duration::from_secs(5);
/// How long replicas are observed after the last request.
const QUIET: Duration = Duration::from_secs(4);
/// Most requests of one load that may be open at once.
const OPEN_MAX: usize = 2_000;

/// All that was observed of a storm.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    /// The outcome of the requests.
    pub(super) tally: Tally,
    /// What the replicas reported.
    pub(super) observations: Observations,
    /// The injected faults, in order.
    pub(super) injections: Vec<Injection>,
    /// Where the run deviated from the plan.
    pub(super) notes: BTreeSet<String>,
    /// When the last answer had arrived.
    pub(super) quiet: Duration,
}

/// Runs the storm `plan` on `testbed`.
///
/// # Errors
/// Why a fault could not be injected or undone.
pub(super) async fn run(testbed: &mut Testbed, plan: &Plan) -> Result<Observed, TestbedError> {
    let watched = Watched {
        admin: testbed.replicas.iter().map(|replica| replica.admin).collect(),
        replication: testbed.access_for_check(),
        model: testbed.model.clone(),
        streams: plan.cluster.peer_streams,
    };
    let over = plan.faults.iter().map(|strike| strike.end()).fold(plan.duration, Duration::max);
    let started = Instant::now();
    let ((away, absent), (stage, staged)) = (watch::channel(BTreeSet::new()), watch::channel(Stage::Load));
    let watching = tokio::spawn(super::watch::watch(watched, started, absent, staged));
    let mut running = JoinSet::new();
    for (rate, begins, lasting, first) in loads(plan, over + TAIL) {
        let (client, plan, model) = (Arc::new(Client::new(testbed.public)), plan.clone(), testbed.model.clone());
        running.spawn(async move {
            sleep_until(started + begins).await;
            let load = Load { rate, duration: lasting, outstanding_max: OPEN_MAX };
            // Samples count from the load's own start, which is late on a busy machine.
            let late = started.elapsed();
            let due = |number: u64| begins + Duration::from_secs_f64(number as f64 / rate);
            (late, load.run(&client, |number| call(&plan, &model, first + number, due(number))).await)
        });
    }
    let mut fault_injector = FaultInjector::new(testbed, plan, started, away);
    for (at, begins, index) in moments(plan) {
        sleep_until(started + at).await;
        match begins {
            true => fault_injector.begin(index).await?,
            false => fault_injector.end(index).await?,
        }
    }
    let (injections, notes) = (fault_injector.injections, fault_injector.notes);
    let mut tally = Tally::default();
    while let Some(finished) = running.join_next().await {
        match finished {
            Ok((late, more)) => tally.absorb(more, late),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
    let quiet = started.elapsed();
    stage.send_replace(Stage::Quiet);
    sleep(QUIET).await;
    stage.send_replace(Stage::Over);
    let observations = watching.await.unwrap_or_default();
    Ok(Observed { tally, observations, injections, notes, quiet })
}

/// When each fault begins (`true`) and ends, in order. At the same moment, ends come before begins.
pub(super) fn moments(plan: &Plan) -> Vec<(Duration, bool, usize)> {
    let strikes = plan.faults.iter().enumerate();
    let mut moments: Vec<_> =
        strikes.flat_map(|(index, strike)| [(strike.at, true, index), (strike.end(), false, index)]).collect();
    moments.sort();
    moments
}
