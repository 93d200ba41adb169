//! What is counted of a run, whatever becomes of it.
//!
//! Must not know what is legal.

use std::collections::BTreeMap;
use std::time::Duration;

use murmuration::event::Event;
use serde::{Deserialize, Serialize};

use crate::chronicle::{End, Entry, Fact, Look, Phase, Witness};
use crate::promises::{Scene, agreement, presence};

/// Counts of one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Virtual seconds.
    pub virtual_s: f64,
    /// Requests.
    pub requests: u64,
    /// Those that were served whole.
    pub served: u64,
    /// Answers that were refusals.
    pub refusals: u64,
    /// Tries after the first.
    pub retries: u64,
    /// Tries without an answer.
    pub unanswered: u64,
    /// Requests that ended in another way than served: by how they ended.
    pub lost: BTreeMap<String, u64>,
    /// The worst age of what was heard, by lane.
    pub lanes: BTreeMap<String, LaneAge>,
    /// From the end of the storm to when all were ready and saw each other for good, in seconds; none when that never was.
    pub heal_s: Option<f64>,
    /// Requests put to all replicas after the storm, and those of them with one answer.
    pub twins: (u64, u64),
    /// Prompt tokens of served requests and those of them that were in the engine's cache, in the storm and after it.
    pub cached: [(u64, u64); 2],
    #[serde(skip)]
    pub(crate) well: BTreeMap<usize, bool>,
    #[serde(skip)]
    pub(crate) healing_since: Duration,
}

/// The age of facts that came by one lane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LaneAge {
    /// The worst, in milliseconds.
    pub worst_ms: f64,
    /// Batches.
    pub batches: u64,
}

// === impl Figures ===

impl Figures {
    /// Counts what happened.
    pub fn see(&mut self, entry: &Entry, scene: &Scene) {
        match &entry.fact {
            Fact::Phase(Phase::Healing) => self.healing_since = entry.at,
            Fact::Asked { attempt: 0, .. } => self.requests += 1,
            Fact::Asked { .. } => self.retries += 1,
            Fact::Refused { .. } => self.refusals += 1,
            Fact::Unanswered { .. } => self.unanswered += 1,
            Fact::Done { end, prompt, .. } => self.done(*end, *prompt, scene),
            Fact::Told(Event::BatchReceived { lane, age: Some(age), .. }) => {
                let lane = self.lanes.entry((*lane).to_owned()).or_default();
                lane.worst_ms = lane.worst_ms.max(age.as_secs_f64() * 1e3);
                lane.batches += 1;
            }
            Fact::Looked(look) => self.looked(entry.by, look, scene),
            Fact::Twins(twins) if scene.phase() >= Phase::Healed => {
                self.twins.0 += 1;
                self.twins.1 += u64::from(agreement::agree(twins));
            }
            _ => {}
        }
    }

    /// The cached share of prompt tokens in the storm and after it, 0 to 1.
    pub fn cached_shares(&self) -> [f64; 2] {
        self.cached.map(|(prompt, cached)| cached as f64 / prompt.max(1) as f64)
    }

    fn done(&mut self, end: End, prompt: (u64, u64), scene: &Scene) {
        if end != End::Served {
            *self.lost.entry(format!("{end:?}")).or_default() += 1;
            return;
        }
        self.served += 1;
        let cached = &mut self.cached[usize::from(scene.phase() > Phase::Storm)];
        *cached = (cached.0 + prompt.0, cached.1 + prompt.1);
    }

    fn looked(&mut self, by: Witness, look: &Look, scene: &Scene) {
        let Witness::Replica(replica, _) = by else { return };
        if scene.phase() < Phase::Healing {
            return;
        }
        self.well.insert(replica, look.ready && presence::missing(replica, look, scene).is_empty());
        let all_well = scene.living().all(|replica| self.well.get(&replica) == Some(&true));
        match (all_well, self.heal_s) {
            (true, None) => {
                self.heal_s = Some(scene.now().saturating_sub(self.healing_since).as_secs_f64());
            }
            (false, Some(_)) => self.heal_s = None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Judge;
    use crate::promises::testing::{Tale, ms, replica, well};

    #[test]
    fn what_happened_is_counted() {
        let mut tale = Tale::calm();
        let heard =
            |age| Event::BatchReceived { peer: replica(1), lane: "gossip", facts: 1, bytes: 9, age: Some(ms(age)) };
        tale.told(0, heard(3));
        tale.told(0, heard(40));
        tale.ask(1, 0, 0);
        tale.client(Fact::Unanswered { request: 1, replica: 0, why: "" });
        tale.ask(1, 1, 1);
        tale.sent(1, 1, 0);
        tale.client(Fact::Done { request: 1, end: End::Served, first_token: None, prompt: (200, 50) });
        tale.ask(2, 1, 0);
        tale.client(Fact::Done { request: 2, end: End::Vanished, first_token: None, prompt: (0, 0) });
        tale.phase(10_000, Phase::Healing);
        tale.at(10_100).look(0, Look { ready: false, ..well(0) });
        (0..3).for_each(|replica| tale.at(10_400).look(replica, well(replica)));

        let mut judge = Judge::of(&tale.plan, Vec::new());
        tale.entries.iter().for_each(|entry| assert!(judge.see(entry)));
        let figures = judge.conclude().1;
        assert_eq!((figures.requests, figures.served, figures.retries, figures.unanswered), (2, 1, 1, 1));
        assert_eq!(figures.lost, BTreeMap::from([("Vanished".to_owned(), 1)]));
        assert_eq!(figures.lanes["gossip"], LaneAge { worst_ms: 40.0, batches: 2 });
        assert_eq!((figures.heal_s, figures.virtual_s), (Some(0.4), 10.4));
        assert_eq!(figures.cached_shares(), [0.25, 0.0]);
    }
}
