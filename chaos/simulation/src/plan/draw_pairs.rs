//! Draws the pairs of a plan: one seed in three has engines that prefill for others, and faults of pairs.
//!
//! All else is drawn before and without it, so other seeds keep their meaning.

use std::time::Duration;

use murmuration::chance::{Chance, mix};

use super::{Draw, GRID_MS, exclude};
use crate::plan::{Fault, PairMoment, Place, Plan, ScheduledFault, TransferFault};

/// One seed in so many has pairs.
const ONE_IN: u64 = 3;
/// The least bytes of a turn: shorter prompts are seldom worth a hand-over.
const PROMPT_BYTES_MIN: usize = 2_000;
/// The probability of each kind of fault to exist in a plan with pairs.
const KIND_EXISTS: f64 = 0.4;

/// The kinds of faults of pairs. Their order is part of the meaning of a seed.
#[derive(Clone, Copy)]
enum Kind {
    PrefillerDies,
    DecoderDies,
    PlannerDies,
    Transfer,
    Partition,
}

const KINDS: [Kind; 5] = [Kind::PrefillerDies, Kind::DecoderDies, Kind::PlannerDies, Kind::Transfer, Kind::Partition];

/// Adds pairs and their faults to the plan of `seed`, if it is one with pairs.
pub(super) fn add_pairs(plan: &mut Plan, seed: u64) {
    let drawn = mix(seed ^ 0x7064);
    if !drawn.is_multiple_of(ONE_IN) {
        return;
    }
    let mut draw = Draw { chance: Chance::from_seed(drawn), rate: plan.traffic.rate, cluster: plan.cluster.clone() };
    // A third to a half of the engines, and at least one.
    let engines = plan.cluster.engines as u64;
    draw.cluster.prefillers = draw.between((engines / 3).max(1), engines / 2) as usize;
    plan.cluster.prefillers = draw.cluster.prefillers;
    plan.traffic.prompt_bytes = plan.traffic.prompt_bytes.max(PROMPT_BYTES_MIN);
    for kind in KINDS {
        if !draw.yes(KIND_EXISTS) {
            continue;
        }
        for _ in 0..draw.between(1, 2) {
            let strike = draw.pair_strike(kind, plan.duration);
            if plan.faults.iter().all(|other| !exclude(other, &strike, &plan.cluster)) {
                plan.faults.push(strike);
            }
        }
    }
    plan.faults.sort_by_key(|strike| strike.at);
}

// === impl Draw ===

impl Draw {
    fn pair_strike(&mut self, kind: Kind, duration: Duration) -> ScheduledFault {
        let whole = duration.as_millis() as u64 / GRID_MS;
        let at = self.between(10, whole - 40);
        let lasting = self.between(20, (whole - at).min(60));
        let fault = self.pair_fault(kind);
        let [at, lasting] = [at, lasting].map(|steps| Duration::from_millis(steps * GRID_MS));
        ScheduledFault { at, lasting, fault }
    }

    fn pair_fault(&mut self, kind: Kind) -> Fault {
        let kill = |who, when| Fault::PairKill { who, when };
        match kind {
            Kind::PrefillerDies => kill(self.prefiller(), PairMoment::Prefilling),
            Kind::DecoderDies => kill(self.decoder(), PairMoment::HandingOver),
            Kind::PlannerDies => {
                let when = self.one(&[PairMoment::Prefilling, PairMoment::HandingOver]);
                kill(Place::Replica(self.chance.below(self.cluster.replicas)), when)
            }
            Kind::Transfer => {
                let does = self.one(&[TransferFault::Fails, TransferFault::ToldLate, TransferFault::Slow]);
                let by = Duration::from_millis(self.one(&[200, 1_500, 4_000]));
                Fault::Transfer { share: self.one(&[0.1, 0.5, 1.0]), does, by }
            }
            Kind::Partition => Fault::Cut { from: self.prefiller(), to: self.decoder(), one_way: self.yes(0.3) },
        }
    }

    fn prefiller(&mut self) -> Place {
        if self.yes(0.3) { Place::Prefillers } else { Place::Engine(self.chance.below(self.cluster.prefillers)) }
    }

    fn decoder(&mut self) -> Place {
        let (first, count) = (self.cluster.prefillers, self.cluster.decoders());
        if self.yes(0.3) { Place::Decoders } else { Place::Engine(first + self.chance.below(count)) }
    }
}
