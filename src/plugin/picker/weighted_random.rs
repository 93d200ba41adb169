//! `weighted-random-picker`: a candidate's probability is proportional to its total.
//!
//! A-Res (Efraimidis and Spirakis): each candidate draws `U^(1/total)` and the highest win. Must not know scorers.

use std::sync::Arc;

use crate::chance::Chance;
use crate::plugin::contract::Picker;
use crate::plugin::registration::{Invalid, Plugin, Produced, Roles};
use crate::schedule::{Ask, Candidate};

use super::PickerParameters;
use super::fallbacks::Wanted;
use super::random::pick_uniformly;

/// `weighted-random-picker`: an endpoint's probability is proportional to its total. Those with a total of zero come
/// last.
#[derive(Clone, Debug)]
pub struct WeightedRandomPicker {
    wanted: Wanted,
}

// === impl WeightedRandomPicker ===

impl Picker for WeightedRandomPicker {
    fn pick(
        &self,
        ask: &Ask<'_>,
        candidates: &[Candidate<'_>],
        totals: &[f64],
        chance: &mut Chance,
        chosen: &mut Vec<usize>,
    ) {
        // `ln(U) / total` has the same order as `U^(1/total)` and does not underflow for small totals.
        let draw = |(i, total): (usize, f64), chance: &mut Chance| ((1.0 - chance.unit()).ln() / total, i);
        let (likely, never): (Vec<usize>, Vec<usize>) = (0..candidates.len()).partition(|&i| totals[i] > 0.0);
        let mut draws: Vec<(f64, usize)> = likely.into_iter().map(|i| draw((i, totals[i]), chance)).collect();
        draws.sort_by(|a, b| b.0.total_cmp(&a.0));
        let count = self.wanted.in_order(candidates.len());
        chosen.extend(draws.into_iter().take(count).map(|(_, i)| i));
        // Candidates with a total of zero or less are picked only after all others, each equally likely.
        pick_uniformly(never, count - chosen.len(), chance, chosen);
        self.wanted.keep(ask, candidates, chosen);
    }
}

impl Plugin for WeightedRandomPicker {
    const TYPE: &'static str = "weighted-random-picker";
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

    fn shares(totals: [f64; 3]) -> [u32; 3] {
        let endpoints = endpoints(3);
        let rows = rows(&endpoints);
        let mut seen = [0u32; 3];
        for seed in 0..6000 {
            seen[picked(&WeightedRandomPicker { wanted: Wanted::first(1) }, &request(seed, 0), &rows, &totals)[0]] += 1;
        }
        seen
    }

    #[test]
    fn shares_follow_totals() {
        let [a, b, c] = shares([3.0, 2.0, 1.0]);
        assert!((2850..3150).contains(&a) && (1850..2150).contains(&b) && (850..1150).contains(&c), "{a} {b} {c}");
        let [a, b, _] = shares([3e-300, 3e-300, 0.0]);
        assert!((2800..3200).contains(&a) && (2800..3200).contains(&b), "{a} {b}");
    }

    #[test]
    fn all_zero_totals_are_equally_likely_and_otherwise_zero_is_never_first() {
        assert!(shares([0.0; 3]).iter().all(|count| (1800..2200).contains(count)));
        assert!(shares([-1.0; 3]).iter().all(|count| (1800..2200).contains(count)));
        assert_eq!(shares([0.0, 0.5, -1.0]), [0, 6000, 0]);
    }

    #[test]
    fn zero_totals_are_the_last_fallbacks() {
        let endpoints = endpoints(4);
        let all = picked(
            &WeightedRandomPicker { wanted: Wanted::first(9) },
            &request(1, 0),
            &rows(&endpoints),
            &[0.0, 1.0, 0.0, 2.0],
        );
        assert_eq!(all.len(), 4);
        assert!(all[..2].contains(&1) && all[..2].contains(&3), "{all:?}");
    }
}
