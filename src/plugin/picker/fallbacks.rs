//! How many endpoints a picker picks, and which of them may stand in for the serving one.
//!
//! Must not know how a picker puts endpoints in order.

use crate::schedule::{Ask, Candidate};

/// What a picker is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Endpoints, 1 or more: the serving one and its fallbacks.
    pub(super) count: usize,
    /// Whether fallbacks come from other zones than the endpoints before them.
    pub(super) in_other_zones: bool,
}

// === impl Wanted ===

impl Wanted {
    /// The first `count` in the picker's order.
    #[cfg(test)]
    pub(super) fn first(count: usize) -> Self {
        Self { count, in_other_zones: false }
    }

    /// How many of `all` candidates the picker must put in order.
    pub(super) fn in_order(self, all: usize) -> usize {
        if self.in_other_zones { all } else { self.count }
    }

    /// Keeps what is wanted of the candidates `chosen`, which are in the picker's order: the first one; then each time
    /// the first from a zone that none of the kept ones is in; where there is no such zone, the first one that is left.
    /// An endpoint whose zone is not known is in no other zone.
    pub(super) fn keep(self, ask: &Ask<'_>, candidates: &[Candidate<'_>], chosen: &mut Vec<usize>) {
        if self.in_other_zones {
            let zone_of = |at: usize| {
                let labels = &candidates[at].endpoint.labels;
                labels.get(ask.topology.zone.as_ref()).filter(|zone| !zone.is_empty())
            };
            for place in 1..self.count.min(chosen.len()) {
                let (kept, rest) = chosen.split_at_mut(place);
                let is_new = |at: &usize| {
                    let zone = zone_of(*at);
                    zone.is_some() && kept.iter().all(|one| zone_of(*one).is_some() && zone_of(*one) != zone)
                };
                if let Some(found) = rest.iter().position(is_new) {
                    // What was passed over stays in order.
                    rest[..=found].rotate_right(1);
                }
            }
        }
        chosen.truncate(self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::testing::{endpoint, request, rows};

    /// Indices that are kept of endpoints in these zones, of which the picker likes the first best.
    fn kept(count: usize, zones: &[&str]) -> Vec<usize> {
        let zoned = |(i, zone): (usize, &&str)| endpoint(&format!("e{i}"), &[("topology.kubernetes.io/zone", *zone)]);
        let endpoints: Vec<_> = zones.iter().enumerate().map(zoned).collect();
        let request = request(1, 1);
        let mut chosen: Vec<usize> = (0..zones.len()).collect();
        Wanted { count, in_other_zones: true }.keep(&Ask::sure(&request), &rows(&endpoints), &mut chosen);
        chosen
    }

    #[test]
    fn each_fallback_is_the_best_of_the_other_zones() {
        assert_eq!(kept(2, &["a", "a", "a", "b", "b"]), [0, 3]);
        assert_eq!(kept(3, &["a", "a", "b", "b", "c"]), [0, 2, 4]);
    }

    #[test]
    fn the_best_that_is_left_follows_where_no_zone_is_left() {
        assert_eq!(kept(4, &["a", "a", "b", "a"]), [0, 2, 1, 3]);
        assert_eq!(kept(2, &["a"]), [0]);
        assert!(kept(2, &[]).is_empty());
    }

    #[test]
    fn an_unknown_zone_is_no_other_zone() {
        assert_eq!(kept(2, &["a", "", "b"]), [0, 2]);
        assert_eq!(kept(2, &["", "a", "b"]), [0, 1]);
    }
}
