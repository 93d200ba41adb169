//! `every_ask_gets_one_answer`.
//!
//! Must not know what a good answer is. An attempt may stay without an answer if its replica was dead, frozen, leaving
//! or younger than [`JOINING`], or if a network fault hit the path from the gateway to it then or shortly before. A
//! request may stay without an answer if that held for as many replicas as the gateway tries.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{About, Broken, Invariant, Scene, broken};
use crate::history::{End, Entry, Fact};
use crate::plan::Place;

/// An attempt that no fault hinders is answered within this.
const ANSWER: Duration = Duration::from_secs(5);
/// Replicas that the gateway tries before it gives up a request.
const ATTEMPTS: u32 = 3;
/// How long a connection may stay unusable after a network fault ended. A segment that was lost several times stalls it
/// for up to 12.6 s. The gateway notices by a ping, sent 1 s after its last read and unanswered for another second, and
/// connects again. The rest is slack.
const AFTERMATH: Duration = Duration::from_millis(2_500);
/// How long a replica may leave attempts unanswered after its start.
pub(super) const JOINING: Duration = Duration::from_secs(5);

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct EveryAskGetsOneAnswer {
    asks: BTreeMap<u64, Ask>,
    done: BTreeSet<u64>,
}

#[derive(Debug)]
struct Ask {
    first: Duration,
    at: Duration,
    replica: usize,
    attempt: u32,
    open: bool,
}

/// Whether this replica may leave unanswered what began at `since`.
pub(super) fn hindered(replica: usize, since: Duration, scene: &Scene) -> bool {
    let span = scene.now().saturating_sub(since);
    !scene.awake_for(replica, span.max(JOINING)) || unheard(replica, since, scene)
}

/// Whether messages between the gateway and the replica may have been lost since `since`.
pub(super) fn unheard(replica: usize, since: Duration, scene: &Scene) -> bool {
    let cluster = &scene.plan().cluster;
    let span = scene.now().saturating_sub(since);
    let way = |from: Place, to: Place| {
        from == Place::Gateway && (to == Place::Gateway || to.replicas(cluster).contains(&replica))
    };
    scene.way_struck(span + AFTERMATH, way)
}

// === impl EveryAskGetsOneAnswer ===

impl Invariant for EveryAskGetsOneAnswer {
    fn about(&self) -> About {
        About::safety(
            "every_ask_gets_one_answer",
            "each attempt gets one decision or one refusal within 5 s, and each request ends once; only a replica that can't be reached may leave an attempt unanswered",
        )
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        match &entry.fact {
            Fact::Asked { request, replica, attempt, .. } => self.asked(*request, *replica, *attempt, entry.at),
            Fact::Sent { request, replica, .. } | Fact::Refused { request, replica, .. } => {
                self.answered(*request, *replica).map(drop)
            }
            Fact::Unanswered { request, replica, why } => {
                let since = self.answered(*request, *replica)?;
                match hindered(*replica, since, scene) {
                    true => Ok(()),
                    false => {
                        broken!("replica-{replica} did not answer request {request}, though nothing hinders it: {why}")
                    }
                }
            }
            Fact::Done { request, end, .. } => self.over(*request, *end, scene),
            Fact::SnapshotTaken(_) => self.overdue(scene),
            _ => Ok(()),
        }
    }

    fn end(&mut self, _scene: &Scene) -> Result<(), Broken> {
        match self.asks.iter().next() {
            Some((request, ask)) => broken!("request {request} of {:?} has no end", ask.first),
            None => Ok(()),
        }
    }
}

impl EveryAskGetsOneAnswer {
    fn asked(&mut self, request: u64, replica: usize, attempt: u32, at: Duration) -> Result<(), Broken> {
        if self.done.contains(&request) {
            return broken!("request {request} is asked again though it is over");
        }
        let first = match self.asks.get(&request) {
            Some(ask) if ask.open => return broken!("request {request} is asked again before its last attempt ended"),
            Some(ask) if ask.attempt + 1 != attempt => {
                return broken!("attempt {attempt} of request {request} comes after attempt {}", ask.attempt);
            }
            Some(ask) => ask.first,
            None => at,
        };
        self.asks.insert(request, Ask { first, at, replica, attempt, open: true });
        Ok(())
    }

    /// Records an answer; returns when the attempt began.
    fn answered(&mut self, request: u64, replica: usize) -> Result<Duration, Broken> {
        match self.asks.get_mut(&request) {
            Some(ask) if ask.open && ask.replica == replica => {
                ask.open = false;
                Ok(ask.at)
            }
            Some(_) => broken!("a second answer to request {request}, by replica-{replica}"),
            None => broken!("an answer by replica-{replica} to request {request}, which is not open"),
        }
    }

    fn over(&mut self, request: u64, end: End, scene: &Scene) -> Result<(), Broken> {
        let Some(ask) = self.asks.remove(&request) else {
            return broken!("request {request} ends without having begun, or twice");
        };
        if ask.open && end != End::Vanished {
            return broken!("request {request} is over before its last attempt ended");
        }
        self.done.insert(request);
        let (attempts, due) = (ask.attempt + 1, ATTEMPTS.min(scene.plan().cluster.replicas as u32));
        match end {
            End::Unanswered if attempts < due => {
                broken!("request {request} was given up after {attempts} of {due} attempts")
            }
            _ => Ok(()),
        }
    }

    fn overdue(&self, scene: &Scene) -> Result<(), Broken> {
        let late = |ask: &Ask| ask.open && scene.now() > ask.at + ANSWER && !hindered(ask.replica, ask.at, scene);
        match self.asks.iter().find(|(_, ask)| late(ask)) {
            Some((request, ask)) => {
                broken!("replica-{} has not answered request {request} since {:?}", ask.replica, ask.at)
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "answers_tests.rs"]
mod tests;
