//! One replica dies with open work. Measures how long until no other replica counts that work, and until the restarted
//! replica is ready.
//!
//! Must not know which replica scrapes: that is measured at the engines.

use std::time::Duration;

use murmuration_actors::scheduler::{Decider, Reservation};
use tokio::time::{Instant, sleep};

use super::probe::{Held, Probe, check_deadline, held};
use super::replica_host::{HostedReplica, ReplicaHost};
use crate::Failure;

/// Time between two readings of a replica.
const READ_INTERVAL: Duration = Duration::from_millis(2);
/// How long to wait for each step.
const PATIENCE: Duration = Duration::from_secs(20);
/// Endpoints that the dying replica has probes at.
const PROBES: usize = 8;
/// Numbers of these probes begin here; the numbers of age probes stay below.
const NUMBERS: u64 = 1 << 40;

/// Work of one replica that all others know of.
pub(super) struct Work {
    probes: Vec<(Probe, Vec<Held>)>,
    _open: Vec<Reservation>,
}

/// Gives the replica `victim` work, and waits until all `others` know of it.
pub(super) async fn give(victim: &HostedReplica, others: &[&HostedReplica], round: u64) -> Result<Work, Failure> {
    let summary = victim.replica.scheduler().summary().await.ok_or("a replica does not answer")?;
    let (mut probes, mut open) = (Vec::new(), Vec::new());
    for (i, one) in summary.endpoints.iter().step_by((summary.endpoints.len() / PROBES).max(1)).enumerate() {
        let probe = Probe::new(NUMBERS + round * 1_000 + i as u64, one.endpoint.address);
        let mut before = Vec::new();
        for other in others {
            before.push(held(other.replica.scheduler(), probe.at).await?);
        }
        let asked = victim.replica.scheduler().ask(probe.request()).await;
        open.push(asked.map_err(|refusal| format!("a probe was refused: {refusal:?}"))?.0);
        probes.push((probe, before));
    }
    let work = Work { probes, _open: open };
    let began = Instant::now();
    while work.known(others).await? < work.probes.len() * others.len() {
        check_deadline(began, PATIENCE, "the work of a replica did not reach all others")?;
        sleep(READ_INTERVAL).await;
    }
    Ok(work)
}

/// Waits until none of `others` counts `work` any more; returns the seconds since `died`.
pub(super) async fn cleaned(work: &Work, others: &[&HostedReplica], died: Instant) -> Result<f64, Failure> {
    while work.known(others).await? > 0 {
        check_deadline(died, PATIENCE, "the work of a dead replica was not forgotten")?;
        sleep(READ_INTERVAL).await;
    }
    Ok(died.elapsed().as_secs_f64())
}

/// Restarts the replica `number` at its former addresses; returns it, and the seconds until it was ready.
pub(super) async fn restart(
    replica_host: &ReplicaHost,
    number: usize,
    was: murmuration_actors::replica::Addresses,
) -> Result<(HostedReplica, f64), Failure> {
    let began = Instant::now();
    let hosted = replica_host.start(number, Some(was)).await?;
    Ok((hosted, began.elapsed().as_secs_f64()))
}

// === impl Work ===

impl Work {
    /// Over all `others`, how many probes each of them counts.
    async fn known(&self, others: &[&HostedReplica]) -> Result<usize, Failure> {
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
