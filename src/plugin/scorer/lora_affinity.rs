//! `lora-affinity-scorer`: an engine that has loaded the adapter is better than one with room for it.
//!
//! Must not know which models are adapters: a base model never appears among the adapters.

use std::sync::Arc;

use crate::fleet::Adapters;
use crate::plugin::contract::Scorer;
use crate::plugin::registration::{Invalid, NoParameters, Plugin, Produced, Roles};
use crate::schedule::{Ask, Candidate};

/// Score if the adapter is in use.
const ACTIVE: f64 = 1.0;
/// Score if there is room for one more adapter.
const ROOM: f64 = 0.8;
/// Score if the adapter is queued for loading.
const WAITING: f64 = 0.6;

/// `lora-affinity-scorer`: an engine that has loaded the requested adapter scores 1, one with room for another adapter
/// 0.8, one that has it queued for loading 0.6, all others 0.
#[derive(Clone, Copy, Debug)]
pub struct LoraAffinityScorer;

fn affinity(adapters: &Adapters, model: &str) -> f64 {
    let has = |names: &[String]| names.iter().any(|name| name == model);
    if has(&adapters.running) {
        ACTIVE
    } else if adapters.in_use() < adapters.max as usize {
        ROOM
    } else if has(&adapters.waiting) {
        WAITING
    } else {
        0.0
    }
}

// === impl LoraAffinityScorer ===

impl Scorer for LoraAffinityScorer {
    fn score(&self, ask: &Ask<'_>, candidates: &[Candidate<'_>], scores: &mut [f64]) {
        for (row, score) in candidates.iter().zip(scores) {
            *score = row.adapters.map_or(0.0, |adapters| affinity(adapters, &ask.request.target_model));
        }
    }
}

impl Plugin for LoraAffinityScorer {
    const TYPE: &'static str = "lora-affinity-scorer";
    const READS: &'static [Produced] = &[];
    type Parameters = NoParameters;

    fn build(_: NoParameters) -> Result<Self, Invalid> {
        Ok(Self)
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::scorer(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::testing::{endpoints, request, rows, scores};

    fn adapters(max: u32, running: &[&str], waiting: &[&str]) -> Adapters {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Adapters { max, running: names(running), waiting: names(waiting) }
    }

    /// vLLM lists an adapter of running requests as waiting too.
    #[test]
    fn an_adapter_that_is_running_and_waiting_takes_one_slot() {
        let reported = [adapters(2, &["x"], &["x"]), adapters(2, &["x"], &["x", "y"]), adapters(2, &[], &["x", "x"])];
        let endpoints = endpoints(3);
        let mut rows = rows(&endpoints);
        for (row, adapters) in rows.iter_mut().zip(&reported) {
            row.adapters = Some(adapters);
        }
        let mut request = request(1, 0);
        request.target_model = "sql".to_owned();
        assert_eq!(scores(&LoraAffinityScorer, &request, &rows), [0.8, 0.0, 0.8]);
    }

    #[test]
    fn active_beats_room_beats_waiting_beats_full() {
        let reported = [
            adapters(1, &["sql"], &["x"]),
            adapters(3, &["x"], &["y"]),
            adapters(2, &["x", "y"], &["sql"]),
            adapters(2, &["x", "y"], &[]),
        ];
        let endpoints = endpoints(5);
        let mut rows = rows(&endpoints);
        for (row, adapters) in rows.iter_mut().zip(&reported) {
            row.adapters = Some(adapters);
        }
        let mut request = request(1, 0);
        request.target_model = "sql".to_owned();
        assert_eq!(scores(&LoraAffinityScorer, &request, &rows), [1.0, 0.8, 0.6, 0.0, 0.0]);
    }
}
