//! Picking under [`Uncertainty`]: rows that count as equal although their totals differ, and the tie-break among them.
//!
//! The tie-break is a hash, so every replica picks the same row. Must not know scorers or why the view may be off.

use std::cmp::Reverse;

use crate::chance::mix;
use crate::schedule::{Ask, Candidate, Uncertainty};

/// Totals that differ by no more than this are equal, because a sum's last bits must not decide.
pub(super) const TIE: f64 = 1e-9;
/// In a burst, rows count as equal to the best if their totals are lower by at most this share of its total. In
/// replayed bursts a twentieth spreads the load, and a tenth or more costs cache hits.
const BURST_TOLERANCE: f64 = 0.05;
/// If isolated, an endpoint is full if its queue exceeds the mean times `FULL_FACTOR`, plus `FULL_MARGIN` requests.
/// (Consistent hashing with bounded loads. The bound is on the queue, because running requests delay no others.)
const FULL_FACTOR: f64 = 1.25;
const FULL_MARGIN: f64 = 1.5;
/// If isolated, an endpoint that holds this share of the prompt more than the median endpoint outweighs agreement.
const EXCLUSIVE_SHARE: f64 = 0.3;

/// The weight of this endpoint for the request among equals (rendezvous hashing).
pub(super) fn draw(ask: &Ask<'_>, row: &Candidate<'_>) -> u64 {
    mix(ask.key ^ row.endpoint.id.key().0)
}

/// The best rows, best first, `count` of them where there are so many; `None` if totals alone decide.
pub(super) fn under_uncertainty(
    ask: &Ask<'_>,
    rows: &[Candidate<'_>],
    totals: &[f64],
    count: usize,
) -> Option<Vec<usize>> {
    match ask.uncertainty {
        Uncertainty::None => None,
        Uncertainty::Concurrent(most) => in_burst(ask, rows, totals, most, count),
        Uncertainty::Isolated => {
            if best_is_exclusive(rows, totals)? {
                return None;
            }
            let mean = rows.iter().map(|row| row.waiting).sum::<f64>() / rows.len() as f64;
            let full = |row: &Candidate<'_>| row.waiting > mean * FULL_FACTOR + FULL_MARGIN;
            let keys = rows.iter().enumerate().map(|(i, row)| (full(row), Reverse(draw(ask, row)), i));
            let least = least(keys.collect(), count);
            Some(least.into_iter().map(|(.., i)| i).collect())
        }
    }
}

/// The draw decides among the `most` best of the rows that are nearly as good as the best. If totals tie at that limit,
/// the draw decides too which rows are in. Other rows follow by their totals.
fn in_burst(ask: &Ask<'_>, rows: &[Candidate<'_>], totals: &[f64], most: usize, count: usize) -> Option<Vec<usize>> {
    let best = totals.iter().copied().max_by(f64::total_cmp)?;
    let limit = best - (best.abs() * BURST_TOLERANCE).max(TIE);
    let (equals, mut others): (Vec<usize>, Vec<usize>) = (0..rows.len()).partition(|&i| totals[i] >= limit);
    let keys = equals.iter().map(|&i| (Reverse(Total(totals[i])), Reverse(draw(ask, &rows[i])), i));
    let mut equals = least(keys.collect(), count.max(most));
    let drawn = equals.len().min(most);
    equals[..drawn].sort_unstable_by_key(|&(_, draw, i)| (draw, i));
    let mut order: Vec<usize> = equals.into_iter().map(|(.., i)| i).collect();
    if order.len() < count {
        others.sort_by(|&a, &b| totals[b].total_cmp(&totals[a]));
        order.append(&mut others);
    }
    order.truncate(count);
    Some(order)
}

/// The `count` least keys, in order. A pool may have a thousand rows, and one is wanted.
fn least<K: Ord>(mut keys: Vec<K>, count: usize) -> Vec<K> {
    if count < keys.len() {
        keys.select_nth_unstable(count);
        keys.truncate(count);
    }
    keys.sort_unstable();
    keys
}

/// Whether the best row holds a large part of the prompt that other rows don't; `None` without rows.
fn best_is_exclusive(rows: &[Candidate<'_>], totals: &[f64]) -> Option<bool> {
    let best = (0..rows.len()).max_by(|&a, &b| totals[a].total_cmp(&totals[b]))?;
    let mut held: Vec<u32> = rows.iter().map(|row| row.matched.blocks).collect();
    let middle = held.len() / 2;
    let (_, median, _) = held.select_nth_unstable(middle);
    let own = rows[best].matched.blocks.saturating_sub(*median);
    Some(own > 0 && f64::from(own) >= EXCLUSIVE_SHARE * f64::from(rows[best].matched.of))
}

/// A total, ordered by `f64::total_cmp`.
#[derive(Clone, Copy, PartialEq)]
struct Total(f64);

impl Eq for Total {}

impl PartialOrd for Total {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Total {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::testing::{endpoints, request, rows};
    use crate::prefix::PrefixMatch;

    fn first(seed: u64, uncertainty: Uncertainty, rows: &[Candidate<'_>], totals: &[f64]) -> Option<usize> {
        let request = request(seed, 10);
        let ask = Ask { uncertainty, ..Ask::sure(&request) };
        let all = under_uncertainty(&ask, rows, totals, rows.len());
        for count in 1..=rows.len() {
            let some = under_uncertainty(&ask, rows, totals, count);
            assert_eq!(some.as_deref(), all.as_ref().map(|all| &all[..count]), "the first {count} of all");
        }
        all.map(|order| {
            assert_eq!(order.iter().collect::<std::collections::BTreeSet<_>>().len(), rows.len());
            order[0]
        })
    }

    #[test]
    fn a_burst_spreads_over_the_nearly_best_rows_only() {
        let endpoints = endpoints(5);
        let (rows, totals) = (rows(&endpoints), [4.0, 3.9, 3.0, 3.95, 3.85]);
        let mut seen = [0; 5];
        (0..1000).for_each(|seed| seen[first(seed, Uncertainty::Concurrent(3), &rows, &totals).unwrap_or(2)] += 1);
        assert!([0, 1, 3].iter().all(|&i| (250..420).contains(&seen[i])), "{seen:?}");
        assert_eq!((seen[2], seen[4]), (0, 0));
        assert_eq!(first(1, Uncertainty::None, &rows, &totals), None);
    }

    #[test]
    fn a_burst_stays_on_the_row_that_holds_the_prompt() {
        let endpoints = endpoints(3);
        let rows = rows(&endpoints);
        assert!((0..100).all(|seed| first(seed, Uncertainty::Concurrent(3), &rows, &[3.0, 4.5, 3.0]) == Some(1)));
    }

    #[test]
    fn isolated_replicas_with_different_loads_agree() {
        let endpoints = endpoints(8);
        let (calm, mut busy) = (rows(&endpoints), rows(&endpoints));
        busy.iter_mut().enumerate().for_each(|(i, row)| row.waiting = (i % 2) as f64);
        let totals = [1.0, 2.0, 3.0, 4.0, 3.0, 2.0, 1.0, 2.0];
        let mirrored: Vec<f64> = totals.iter().rev().copied().collect();
        for seed in 0..200 {
            let (one, other) = (
                first(seed, Uncertainty::Isolated, &calm, &totals),
                first(seed, Uncertainty::Isolated, &busy, &mirrored),
            );
            assert_eq!(one, other);
        }
    }

    #[test]
    fn an_isolated_replica_avoids_full_rows_and_stays_where_the_prompt_is() {
        let endpoints = endpoints(4);
        let mut rows = rows(&endpoints);
        rows[2].waiting = 9.0;
        assert!((0..100).all(|seed| first(seed, Uncertainty::Isolated, &rows, &[1.0; 4]) != Some(2)));
        rows[2].matched = PrefixMatch { blocks: 5, of: 10 };
        assert_eq!(first(1, Uncertainty::Isolated, &rows, &[1.0, 1.0, 2.0, 1.0]), None, "totals decide");
        rows.iter_mut().for_each(|row| row.matched = PrefixMatch { blocks: 5, of: 10 });
        assert!(first(1, Uncertainty::Isolated, &rows, &[1.0, 1.0, 2.0, 1.0]).is_some(), "all rows hold it");
    }

    #[test]
    fn no_rows_give_no_order() {
        assert_eq!(first(1, Uncertainty::Isolated, &[], &[]), None);
        assert_eq!(first(1, Uncertainty::Concurrent(2), &[], &[]), None);
    }
}
