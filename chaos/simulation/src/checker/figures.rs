//! The figures of a run, whatever its verdict.
//!
//! Must not know what is legal.

use std::collections::BTreeMap;
use std::time::Duration;

use murmuration::event::Event;
use serde::{Deserialize, Serialize};

use crate::history::{End, Entry, Fact, Legs, Phase, Snapshot, Source};
use crate::invariants::{Scene, agreement, pair_agreement, presence};

/// Counts of one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Virtual seconds.
    pub virtual_s: f64,
    /// Requests that clients sent.
    pub requests: u64,
    /// Requests that were served completely.
    pub served: u64,
    /// Attempts that a replica refused.
    pub refusals: u64,
    /// Attempts after the first.
    pub retries: u64,
    /// Attempts without an answer.
    pub unanswered: u64,
    /// Requests that were not served, by how they ended.
    pub lost: BTreeMap<String, u64>,
    /// The greatest age of received facts, by lane.
    pub lanes: BTreeMap<String, LaneAge>,
    /// Seconds from the end of the storm until all replicas were ready and saw each other, for the rest of the run;
    /// `None` if that never happened.
    pub heal_s: Option<f64>,
    /// Requests put to all replicas after the storm, and how many of them got the same answer from each.
    pub twins: (u64, u64),
    /// Those of them for which a replica chose a pair, and how many of these got the same pair from each.
    pub twin_pairs: (u64, u64),
    /// Pairs whose legs ended: with the KV of another engine, with a prompt that the decode engine computed, and failed.
    pub pairs: [u64; 3],
    /// Prompt tokens of served requests, and those of them found in the engine's cache: during the storm, and after it.
    pub cached: [(u64, u64); 2],
    #[serde(skip)]
    pub(crate) recovered: BTreeMap<usize, bool>,
    #[serde(skip)]
    pub(crate) recovery_since: Duration,
}

/// The age of facts that came by one lane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LaneAge {
    /// The greatest, in milliseconds.
    pub worst_ms: f64,
    /// How many batches were received.
    pub batches: u64,
}

// === impl Figures ===

impl Figures {
    /// Counts one entry.
    pub fn see(&mut self, entry: &Entry, scene: &Scene) {
        match &entry.fact {
            Fact::Phase(Phase::Recovery) => self.recovery_since = entry.at,
            Fact::Asked { attempt: 0, .. } => self.requests += 1,
            Fact::Asked { .. } => self.retries += 1,
            Fact::Refused { .. } => self.refusals += 1,
            Fact::Unanswered { .. } => self.unanswered += 1,
            Fact::LegsEnded { legs, .. } => self.pairs[legs_index(legs)] += 1,
            Fact::Done { end, prompt, .. } => self.done(*end, *prompt, scene),
            Fact::Emitted(Event::BatchReceived { lane, age: Some(age), .. }) => {
                let lane = self.lanes.entry((*lane).to_owned()).or_default();
                lane.worst_ms = lane.worst_ms.max(age.as_secs_f64() * 1e3);
                lane.batches += 1;
            }
            Fact::SnapshotTaken(snapshot) => self.snapshot_taken(entry.by, snapshot, scene),
            Fact::Twins(twins) if scene.phase() >= Phase::Recovered => {
                self.twins.0 += 1;
                self.twins.1 += u64::from(agreement::agree(twins));
                if twins.iter().any(|twin| !twin.prefill.is_empty()) {
                    self.twin_pairs.0 += 1;
                    self.twin_pairs.1 += u64::from(pair_agreement::agree(twins));
                }
            }
            _ => {}
        }
    }

    /// The cached share of prompt tokens during the storm and after it, 0 to 1.
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

    fn snapshot_taken(&mut self, by: Source, snapshot: &Snapshot, scene: &Scene) {
        let Source::Replica(replica, _) = by else { return };
        if scene.phase() < Phase::Recovery {
            return;
        }
        self.recovered.insert(replica, snapshot.ready && presence::missing(replica, snapshot, scene).is_empty());
        let all_recovered = scene.living().all(|replica| self.recovered.get(&replica) == Some(&true));
        match (all_recovered, self.heal_s) {
            (true, None) => {
                self.heal_s = Some(scene.now().saturating_sub(self.recovery_since).as_secs_f64());
            }
            (false, Some(_)) => self.heal_s = None,
            _ => {}
        }
    }
}

fn legs_index(legs: &Legs) -> usize {
    match legs {
        Legs::Moved { .. } => 0,
        Legs::Computed(_) => 1,
        Legs::Failed(_) => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::Checker;
    use crate::invariants::testing::{HistoryBuilder, ms, replica, well};

    #[test]
    fn what_happened_is_counted() {
        let mut history = HistoryBuilder::calm();
        let received =
            |age| Event::BatchReceived { peer: replica(1), lane: "gossip", facts: 1, bytes: 9, age: Some(ms(age)) };
        history.told(0, received(3));
        history.told(0, received(40));
        history.ask(1, 0, 0);
        history.client(Fact::Unanswered { request: 1, replica: 0, why: "" });
        history.ask(1, 1, 1);
        history.sent(1, 1, 0);
        history.client(Fact::Done { request: 1, end: End::Served, first_token: None, prompt: (200, 50) });
        history.ask(2, 1, 0);
        history.client(Fact::Done { request: 2, end: End::Vanished, first_token: None, prompt: (0, 0) });
        history.phase(10_000, Phase::Recovery);
        history.at(10_100).snapshot(0, Snapshot { ready: false, ..well(0) });
        (0..3).for_each(|replica| history.at(10_400).snapshot(replica, well(replica)));

        let mut checker = Checker::of(&history.plan, Vec::new());
        history.entries.iter().for_each(|entry| assert!(checker.see(entry)));
        let figures = checker.conclude().1;
        assert_eq!((figures.requests, figures.served, figures.retries, figures.unanswered), (2, 1, 1, 1));
        assert_eq!(figures.lost, BTreeMap::from([("Vanished".to_owned(), 1)]));
        assert_eq!(figures.lanes["gossip"], LaneAge { worst_ms: 40.0, batches: 2 });
        assert_eq!((figures.heal_s, figures.virtual_s), (Some(0.4), 10.4));
        assert_eq!(figures.cached_shares(), [0.25, 0.0]);
    }
}
