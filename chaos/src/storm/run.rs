//! The course of a storm: the load goes on, faults begin and end when the plan says, and somebody looks.
//!
//! Must not know what is good or bad.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::hands::{Deed, Hands};
use super::traffic::{call, loads};
use super::watch::{Seens, Stage, Watched};
use crate::client::{Client, Load, Tally};
use crate::plan::Plan;
use crate::town::{Town, TownError};

/// How long requests go on after the last fault.
pub(super) const TAIL: Duration = Duration::from_secs(5);
/// How long replicas are looked at after the last request.
const REST: Duration = Duration::from_secs(4);
/// Requests of one load that may be open at once.
const OPEN_MAX: usize = 2_000;

/// All that was seen of a storm.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    /// What became of the requests.
    pub(super) tally: Tally,
    /// What the replicas showed.
    pub(super) seens: Seens,
    /// What was done, in order.
    pub(super) deeds: Vec<Deed>,
    /// What went otherwise than the plan says.
    pub(super) notes: BTreeSet<String>,
    /// When the last answer had come.
    pub(super) quiet: Duration,
}

/// Does `plan` to `town`.
///
/// # Errors
/// Why the town could not be struck or mended.
pub(super) async fn run(town: &mut Town, plan: &Plan) -> Result<Observed, TownError> {
    let watched = Watched {
        admin: town.replicas.iter().map(|replica| replica.admin).collect(),
        replication: town.replication_for_check(),
        model: town.model.clone(),
        streams: plan.town.peer_streams,
    };
    let over = plan.faults.iter().map(|strike| strike.end()).fold(plan.duration, Duration::max);
    let started = Instant::now();
    let ((away, absent), (stage, staged)) = (watch::channel(BTreeSet::new()), watch::channel(Stage::Load));
    let watching = tokio::spawn(super::watch::watch(watched, started, absent, staged));
    let mut flights = JoinSet::new();
    for (rate, begins, lasting, first) in loads(plan, over + TAIL) {
        let (client, plan, model) = (Arc::new(Client::new(town.public)), plan.clone(), town.model.clone());
        flights.spawn(async move {
            sleep_until(started + begins).await;
            let load = Load { rate, duration: lasting, outstanding_max: OPEN_MAX };
            // What is measured counts from the load's own beginning, which is late where processor time is short.
            let late = started.elapsed();
            let due = |number: u64| begins + Duration::from_secs_f64(number as f64 / rate);
            (late, load.run(&client, |number| call(&plan, &model, first + number, due(number))).await)
        });
    }
    let mut hands = Hands::new(town, plan, started, away);
    for (at, begins, index) in moments(plan) {
        sleep_until(started + at).await;
        match begins {
            true => hands.begin(index).await?,
            false => hands.end(index).await?,
        }
    }
    let (deeds, notes) = (hands.deeds, hands.notes);
    let mut tally = Tally::default();
    while let Some(flown) = flights.join_next().await {
        match flown {
            Ok((late, more)) => tally.absorb(more, late),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
    let quiet = started.elapsed();
    stage.send_replace(Stage::Quiet);
    sleep(REST).await;
    stage.send_replace(Stage::Over);
    let seens = watching.await.unwrap_or_default();
    Ok(Observed { tally, seens, deeds, notes, quiet })
}

/// When which fault begins (`true`) and ends, in order; what ends at a moment ends before another one begins.
pub(super) fn moments(plan: &Plan) -> Vec<(Duration, bool, usize)> {
    let strikes = plan.faults.iter().enumerate();
    let mut moments: Vec<_> =
        strikes.flat_map(|(index, strike)| [(strike.at, true, index), (strike.end(), false, index)]).collect();
    moments.sort();
    moments
}
