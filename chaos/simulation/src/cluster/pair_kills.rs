//! Deaths that wait for a moment in the life of a pair.
//!
//! Must not know what a death does.

use super::fault_state::FaultState;
use super::gateway::{Pair, Pairs};
use crate::plan::{ClusterSpec, PairMoment, Place};

/// Who died so, as long as the fault is in force.
#[derive(Debug, Default)]
pub(super) struct PairKills {
    struck: Vec<((Place, PairMoment), Place)>,
}

// === impl PairKills ===

impl PairKills {
    /// Who dies now: each fault in force strikes once, as soon as it finds a pair.
    pub(super) fn strike(&mut self, faults: &FaultState, pairs: &Pairs, cluster: &ClusterSpec) -> Vec<Place> {
        let mut victims = Vec::new();
        for fault in &faults.pair_kills {
            if self.struck.iter().all(|(known, _)| known != fault)
                && let Some(victim) = victim(*fault, pairs, cluster)
            {
                self.struck.push((*fault, victim));
                victims.push(victim);
            }
        }
        victims
    }

    /// Forgets those whose fault has ended.
    pub(super) fn only(&mut self, faults: &FaultState) {
        self.struck.retain(|(fault, _)| faults.pair_kills.contains(fault));
    }

    /// Adds the deaths to `faults`.
    pub(super) fn add_to(&self, faults: &mut FaultState) {
        for (_, victim) in &self.struck {
            match *victim {
                Place::Replica(replica) => faults.replicas[replica].killed = true,
                Place::Engine(engine) => faults.engines[engine].killed = true,
                _ => {}
            }
        }
    }
}

/// The first of `who` that takes part in a pair at this moment.
fn victim((who, moment): (Place, PairMoment), pairs: &Pairs, cluster: &ClusterSpec) -> Option<Place> {
    let (replicas, engines) = (who.replicas(cluster), who.engines(cluster));
    if let Some(pair) = pairs.find(moment, |pair| replicas.contains(&pair.planner)) {
        return Some(Place::Replica(pair.planner));
    }
    let engine = |pair: &Pair| match moment {
        PairMoment::Prefilling => pair.prefill,
        PairMoment::HandingOver => pair.decode,
    };
    pairs.find(moment, |pair| engines.contains(&engine(pair))).map(|pair| Place::Engine(engine(&pair)))
}
