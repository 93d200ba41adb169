//! `max-score-picker`: the best total wins, and every replica breaks ties the same way.
//!
//! llm-d shuffles ties; this picker hashes the request's key and the endpoint's name. So ties spread over the pool, and
//! two requests with the same beginning meet on one endpoint even before a cache holds their prefix. If the view may be
//! off, rows with different totals can count as equal too (`equals.rs`). Must not know scorers.

use std::sync::Arc;

use crate::chance::Chance;
use crate::plugin::contract::Picker;
use crate::plugin::registration::{Invalid, Plugin, Produced, Roles};
use crate::schedule::{Ask, Candidate};

use super::PickerParameters;
use super::equals::{TIE, draw, under_uncertainty};
use super::fallbacks::Wanted;

/// `max-score-picker`: the endpoint with the highest total serves. Ties fall by a hash of prompt and endpoint, the same
/// on every replica. While the view may be off, totals that are close count as ties.
#[derive(Clone, Debug)]
pub struct MaxScorePicker {
    wanted: Wanted,
}

// === impl MaxScorePicker ===

impl Picker for MaxScorePicker {
    fn pick(
        &self,
        ask: &Ask<'_>,
        candidates: &[Candidate<'_>],
        totals: &[f64],
        _: &mut Chance,
        chosen: &mut Vec<usize>,
    ) {
        let count = self.wanted.in_order(candidates.len());
        match under_uncertainty(ask, candidates, totals, count) {
            Some(order) => chosen.extend(order),
            None => by_totals(ask, candidates, totals, count, chosen),
        }
        self.wanted.keep(ask, candidates, chosen);
    }
}

/// Pushes the `count` candidates with the highest totals, the highest first. Ties fall by the draw.
fn by_totals(ask: &Ask<'_>, candidates: &[Candidate<'_>], totals: &[f64], count: usize, chosen: &mut Vec<usize>) {
    // The usual case needs no full sort.
    let top = totals.iter().copied().max_by(f64::total_cmp).filter(|_| count == 1);
    let wanted = |i: &usize| top.is_none_or(|top| totals[*i] >= top - TIE);
    let mut order: Vec<usize> = (0..candidates.len()).filter(wanted).collect();
    order.sort_by(|&a, &b| totals[b].total_cmp(&totals[a]));
    let mut rest = order.as_mut_slice();
    while let Some(&best) = rest.first().filter(|_| chosen.len() < count) {
        let ties = rest.iter().take_while(|&&i| totals[i] >= totals[best] - TIE).count().max(1);
        let (equals, others) = rest.split_at_mut(ties);
        equals.sort_by_cached_key(|&i| (std::cmp::Reverse(draw(ask, &candidates[i])), i));
        chosen.extend(equals.iter().take(count - chosen.len()));
        rest = others;
    }
}

impl Plugin for MaxScorePicker {
    const TYPE: &'static str = "max-score-picker";
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
    fn the_best_serves_and_fallbacks_follow_in_order() {
        let endpoints = endpoints(4);
        let totals = [0.1, 0.9, 0.5, 0.7];
        let pick = |count| {
            picked(&MaxScorePicker { wanted: Wanted::first(count) }, &request(1, 1), &rows(&endpoints), &totals)
        };
        assert_eq!(pick(1), [1]);
        assert_eq!(pick(3), [1, 3, 2]);
        assert_eq!(pick(9), [1, 3, 2, 0]);
    }

    #[test]
    fn no_candidates_give_no_pick() {
        assert!(picked(&MaxScorePicker { wanted: Wanted::first(3) }, &request(1, 1), &[], &[]).is_empty());
    }

    #[test]
    fn ties_spread_over_the_pool_and_equal_prompts_meet() {
        let endpoints = endpoints(8);
        let rows = rows(&endpoints);
        let mut seen = [0u32; 8];
        for seed in 0..4000 {
            let first = picked(&MaxScorePicker { wanted: Wanted::first(1) }, &request(seed, 1), &rows, &[1.0; 8]);
            // A twin with the same beginning and another continuation has another content hash.
            let mut twin = request(seed, 5);
            twin.content_hash = !seed;
            assert_eq!(first, picked(&MaxScorePicker { wanted: Wanted::first(1) }, &twin, &rows, &[1.0; 8]));
            seen[first[0]] += 1;
        }
        assert!(seen.iter().all(|&count| (400..600).contains(&count)), "{seen:?}");
    }

    #[test]
    fn without_a_chain_the_content_decides() {
        let endpoints = endpoints(8);
        let rows = rows(&endpoints);
        let pick = |seed| picked(&MaxScorePicker { wanted: Wanted::first(1) }, &request(seed, 0), &rows, &[1.0; 8])[0];
        assert!((1..100).any(|seed| pick(seed) != pick(0)));
    }

    #[test]
    fn the_last_bits_of_a_sum_are_a_tie_and_more_is_not() {
        let endpoints = endpoints(2);
        let rows = rows(&endpoints);
        let first = |seed, totals: [f64; 2]| {
            picked(&MaxScorePicker { wanted: Wanted::first(1) }, &request(seed, 1), &rows, &totals)[0]
        };
        assert!((0..100).any(|seed| first(seed, [0.3, 0.1 + 0.2]) == 0));
        assert!((0..100).all(|seed| first(seed, [0.3, 0.300_001]) == 1));
    }

    #[test]
    fn one_and_many_agree_on_the_first_in_any_row_order() {
        let endpoints = endpoints(6);
        let mut rows = rows(&endpoints);
        let totals = [1.0, 0.5, 1.0, 1.0, 0.5, 1.0];
        for seed in 0..100 {
            let request = request(seed, 1);
            let one = picked(&MaxScorePicker { wanted: Wanted::first(1) }, &request, &rows, &totals);
            let all = picked(&MaxScorePicker { wanted: Wanted::first(6) }, &request, &rows, &totals);
            assert_eq!(one[0], all[0]);
            assert!(all[..4].iter().all(|&i| totals[i] == 1.0));
            let name = rows[one[0]].endpoint.id.clone();
            rows.reverse();
            let mirrored: Vec<f64> = totals.iter().rev().copied().collect();
            let again = picked(&MaxScorePicker { wanted: Wanted::first(1) }, &request, &rows, &mirrored);
            assert_eq!(rows[again[0]].endpoint.id, name);
            rows.reverse();
        }
    }

    #[test]
    fn a_joining_endpoint_takes_over_only_its_own_requests() {
        let endpoints = endpoints(9);
        let rows = rows(&endpoints);
        for seed in 0..500 {
            let before = picked(&MaxScorePicker { wanted: Wanted::first(1) }, &request(seed, 1), &rows[..8], &[1.0; 8]);
            let after = picked(&MaxScorePicker { wanted: Wanted::first(1) }, &request(seed, 1), &rows, &[1.0; 9]);
            assert!(after == before || after == [8]);
        }
    }
}
