//! `queue-scorer`: fewer waiting requests are better.
//!
//! Must not know how waiting requests are counted.

use std::sync::Arc;

use crate::plugin::contract::Scorer;
use crate::plugin::registration::{Invalid, NoParameters, Plugin, Produced, Roles};
use crate::schedule::{Ask, Candidate};

use super::score_least;

/// `queue-scorer`: fewer waiting requests are better. The score is `(most - waiting) / (most - least)` over the
/// candidates, and 1 for all where all wait alike.
#[derive(Clone, Copy, Debug)]
pub struct QueueScorer;

// === impl QueueScorer ===

impl Scorer for QueueScorer {
    fn score(&self, _: &Ask<'_>, candidates: &[Candidate<'_>], scores: &mut [f64]) {
        score_least(candidates, scores, |row| row.waiting);
    }
}

impl Plugin for QueueScorer {
    const TYPE: &'static str = "queue-scorer";
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

    #[test]
    fn the_least_gets_one_the_most_zero_and_the_rest_lie_between() {
        let endpoints = endpoints(3);
        let mut rows = rows(&endpoints);
        for (row, value) in rows.iter_mut().zip([4.0, 0.0, 1.0]) {
            row.waiting = value;
        }
        assert_eq!(scores(&QueueScorer, &request(1, 0), &rows), [0.0, 1.0, 0.75]);
    }

    #[test]
    fn equal_values_all_get_one() {
        let endpoints = endpoints(2);
        let mut rows = rows(&endpoints);
        rows.iter_mut().for_each(|row| row.waiting = 7.0);
        assert_eq!(scores(&QueueScorer, &request(1, 0), &rows), [1.0, 1.0]);
        assert_eq!(scores(&QueueScorer, &request(1, 0), &[]), [0.0; 0]);
    }
}
