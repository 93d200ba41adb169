//! One replica dies in the middle of its work: how long until no other waits for that work, and until its next life is
//! ready.
//!
//! Must not know who scrapes: that is seen at the engines.

use std::time::Duration;

use murmuration_actors::scheduler::{Asking, Reservation};
use tokio::time::{Instant, sleep};

use super::nest::{Bird, Nest};
use super::probe::{Held, Probe};
use crate::bench::Failure;

/// From one look to the next.
const LOOK: Duration = Duration::from_millis(2);
/// What has not happened after this time does not happen.
const PATIENCE: Duration = Duration::from_secs(20);
/// Endpoints that the dying replica has probes at.
const PROBES: usize = 8;
/// Numbers of these probes begin here; those that measure ages never come so far.
const NUMBERS: u64 = 1 << 40;

/// Work of one replica that all others know of.
pub(super) struct Work {
    probes: Vec<(Probe, Vec<Held>)>,
    _open: Vec<Reservation>,
}

/// Gives the replica `victim` work, and waits until all `others` know of it.
pub(super) async fn give(victim: &Bird, others: &[&Bird], round: u64) -> Result<Work, Failure> {
    let summary = victim.replica.scheduler().summary().await.ok_or("a replica does not answer")?;
    let (mut probes, mut open) = (Vec::new(), Vec::new());
    for (i, one) in summary.endpoints.iter().step_by((summary.endpoints.len() / PROBES).max(1)).enumerate() {
        let probe = Probe::new(NUMBERS + round * 1_000 + i as u64, one.endpoint.address);
        let mut before = Vec::new();
        for other in others {
            before.push(held(other, probe).await?);
        }
        let asked = victim.replica.scheduler().ask(probe.request()).await;
        open.push(asked.map_err(|refusal| format!("a probe was refused: {refusal:?}"))?.0);
        probes.push((probe, before));
    }
    let work = Work { probes, _open: open };
    let began = Instant::now();
    while work.known(others).await? < work.probes.len() * others.len() {
        patient(began, "the work of a replica did not come to all others")?;
        sleep(LOOK).await;
    }
    Ok(work)
}

/// Waits until nobody among `others` waits for `work` any more; gives the seconds since `died`.
pub(super) async fn cleaned(work: &Work, others: &[&Bird], died: Instant) -> Result<f64, Failure> {
    while work.known(others).await? > 0 {
        patient(died, "the work of a dead replica was not forgotten")?;
        sleep(LOOK).await;
    }
    Ok(died.elapsed().as_secs_f64())
}

/// Starts the replica `number` anew where it was; gives it, and the seconds until it was ready.
pub(super) async fn reborn(
    nest: &Nest,
    number: usize,
    was: murmuration_actors::replica::Addresses,
) -> Result<(Bird, f64), Failure> {
    let began = Instant::now();
    let bird = nest.hatch(number, Some(was)).await?;
    Ok((bird, began.elapsed().as_secs_f64()))
}

// === impl Work ===

impl Work {
    /// How many times a piece of it is known to somebody.
    async fn known(&self, others: &[&Bird]) -> Result<usize, Failure> {
        let mut known = 0;
        for (i, other) in others.iter().enumerate() {
            let summary = other.replica.scheduler().summary().await.ok_or("a replica does not answer")?;
            let sees = |(probe, before): &&(Probe, Vec<Held>)| {
                Held::of(&summary, probe.at).zip(before.get(i)).is_some_and(|(now, before)| now.has_its_work(*before))
            };
            known += self.probes.iter().filter(sees).count();
        }
        Ok(known)
    }
}

async fn held(bird: &Bird, probe: Probe) -> Result<Held, Failure> {
    let summary = bird.replica.scheduler().summary().await.ok_or("a replica does not answer")?;
    Held::of(&summary, probe.at).ok_or_else(|| format!("the endpoint {} has left the pool", probe.at))
}

fn patient(since: Instant, what: &str) -> Result<(), Failure> {
    if since.elapsed() < PATIENCE { Ok(()) } else { Err(format!("{what} within {PATIENCE:?}")) }
}
