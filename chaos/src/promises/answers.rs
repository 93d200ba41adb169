//! `every_ask_gets_one_answer`.
//!
//! Must not know what a good answer is. What is legal: a try without an answer, if its replica was dead, frozen, leaving or younger than
//! [`JOINING`], or if its way from the gateway was struck, or had been shortly before; a request without an answer, if that was so of as many replicas as are tried.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Broken, Promise, Scene, broken};
use crate::chronicle::{End, Entry, Fact};
use crate::plan::Place;

/// A try that nothing hinders is answered within this.
const ANSWER: Duration = Duration::from_secs(5);
/// Replicas that the gateway tries before it gives a request up.
const TRIES: u32 = 3;
/// For how long a connection may not notice that its way is whole again: a lost segment is for ever, and the gateway finds that
/// out by a ping, a second after the last it read, to which nothing comes back for another second. The rest is slack.
const AFTERMATH: Duration = Duration::from_millis(2_500);
/// For how long a replica that has been started may not answer yet.
pub(super) const JOINING: Duration = Duration::from_secs(5);

/// See [`Promise::meaning`].
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

/// Whether something that began at `since` may be without an answer by this replica.
pub(super) fn hindered(replica: usize, since: Duration, scene: &Scene) -> bool {
    let span = scene.now().saturating_sub(since);
    !scene.awake_for(replica, span.max(JOINING)) || unheard(replica, since, scene)
}

/// Whether the gateway and the replica may not have heard each other since `since`.
pub(super) fn unheard(replica: usize, since: Duration, scene: &Scene) -> bool {
    let town = &scene.plan().town;
    let span = scene.now().saturating_sub(since);
    let way = |from: Place, to: Place| {
        from == Place::Gateway && (to == Place::Gateway || to.replicas(town).contains(&replica))
    };
    scene.way_struck(span + AFTERMATH, way)
}

// === impl EveryAskGetsOneAnswer ===

impl Promise for EveryAskGetsOneAnswer {
    fn name(&self) -> &'static str {
        "every_ask_gets_one_answer"
    }

    fn meaning(&self) -> &'static str {
        "each try gets one decision or one refusal within 5 s, each request one end; only a replica that can't be reached stays silent"
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
            Fact::Looked(_) => self.overdue(scene),
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
            Some(ask) if ask.open => return broken!("request {request} is asked again before its last try is over"),
            Some(ask) if ask.attempt + 1 != attempt => {
                return broken!("try {attempt} of request {request} comes after try {}", ask.attempt);
            }
            Some(ask) => ask.first,
            None => at,
        };
        self.asks.insert(request, Ask { first, at, replica, attempt, open: true });
        Ok(())
    }

    /// One answer came; gives when the try began.
    fn answered(&mut self, request: u64, replica: usize) -> Result<Duration, Broken> {
        match self.asks.get_mut(&request) {
            Some(ask) if ask.open && ask.replica == replica => {
                ask.open = false;
                Ok(ask.at)
            }
            Some(_) => broken!("a second answer to request {request}, by replica-{replica}"),
            None => broken!("an answer by replica-{replica} to request {request}, which nobody waits for"),
        }
    }

    fn over(&mut self, request: u64, end: End, scene: &Scene) -> Result<(), Broken> {
        let Some(ask) = self.asks.remove(&request) else {
            return broken!("request {request} ends without having begun, or twice");
        };
        if ask.open && end != End::Vanished {
            return broken!("request {request} is over before its last try is");
        }
        self.done.insert(request);
        let (tries, due) = (ask.attempt + 1, TRIES.min(scene.plan().town.replicas as u32));
        match end {
            End::Unanswered if tries < due => broken!("request {request} was given up after {tries} of {due} tries"),
            _ => Ok(()),
        }
    }

    fn overdue(&self, scene: &Scene) -> Result<(), Broken> {
        let late = |ask: &Ask| ask.open && scene.now() > ask.at + ANSWER && !hindered(ask.replica, ask.at, scene);
        match self.asks.iter().find(|(_, ask)| late(ask)) {
            Some((request, ask)) => {
                broken!("replica-{} has owed request {request} an answer since {:?}", ask.replica, ask.at)
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "answers_tests.rs"]
mod tests;
