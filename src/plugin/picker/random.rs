//! `random-picker`: every candidate is equally likely.
//!
//! Must not know scores.

use std::sync::Arc;

use crate::chance::Chance;
use crate::plugin::contract::Picker;
use crate::plugin::registration::{Invalid, Plugin, Produced, Roles};
use crate::schedule::{Ask, Candidate};

use super::PickerParameters;
use super::fallbacks::Wanted;

/// `random-picker`: every endpoint that the filters left is equally likely, whatever its scores.
#[derive(Clone, Debug)]
pub struct RandomPicker {
    wanted: Wanted,
}

/// Pushes `count` elements of `among`; each set and each order is equally likely (the start of a Fisher-Yates shuffle).
pub(super) fn pick_uniformly(mut among: Vec<usize>, count: usize, chance: &mut Chance, chosen: &mut Vec<usize>) {
    for place in 0..count.min(among.len()) {
        let from = place + chance.below(among.len() - place);
        among.swap(place, from);
        chosen.push(among[place]);
    }
}

// === impl RandomPicker ===

impl Picker for RandomPicker {
    fn pick(
        &self,
        ask: &Ask<'_>,
        candidates: &[Candidate<'_>],
        _: &[f64],
        chance: &mut Chance,
        chosen: &mut Vec<usize>,
    ) {
        let all = candidates.len();
        pick_uniformly((0..all).collect(), self.wanted.in_order(all), chance, chosen);
        self.wanted.keep(ask, candidates, chosen);
    }
}

impl Plugin for RandomPicker {
    const TYPE: &'static str = "random-picker";
    const READS: &'static [Produced] = &[];
    type Parameters = PickerParameters;

    fn build(parameters: PickerParameters) -> Result<Self, Invalid> {
        Ok(Self { wanted: parameters.wanted()? })
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::picker(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::testing::{endpoints, picked, request, rows};

    #[test]
    fn every_candidate_is_equally_likely_whatever_the_scores() {
        let endpoints = endpoints(4);
        let mut seen = [0u32; 4];
        for seed in 0..4000 {
            let picked = picked(
                &RandomPicker { wanted: Wanted::first(1) },
                &request(seed, 0),
                &rows(&endpoints),
                &[9.0, 0.0, 0.0, 0.0],
            );
            seen[picked[0]] += 1;
        }
        assert!(seen.iter().all(|&count| (900..1100).contains(&count)), "{seen:?}");
    }

    #[test]
    fn fallbacks_differ_from_the_serving_endpoint() {
        let endpoints = endpoints(4);
        let mut all = picked(&RandomPicker { wanted: Wanted::first(9) }, &request(3, 0), &rows(&endpoints), &[0.0; 4]);
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3]);
    }
}
