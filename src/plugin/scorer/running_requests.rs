//! `running-requests-size-scorer`: fewer running requests are better.
//!
//! Must not know how running requests are counted.

use std::sync::Arc;

use crate::plugin::contract::Scorer;
use crate::plugin::registration::{Invalid, NoParameters, Plugin, Produced, Roles};
use crate::schedule::{Ask, Candidate};

use super::score_least;

/// `running-requests-size-scorer`: fewer running requests are better. The score is `(most - running) / (most - least)`
/// over the candidates, and 1 for all where all run alike.
#[derive(Clone, Copy, Debug)]
pub struct RunningRequestsSizeScorer;

// === impl RunningRequestsSizeScorer ===

impl Scorer for RunningRequestsSizeScorer {
    fn score(&self, _: &Ask<'_>, candidates: &[Candidate<'_>], scores: &mut [f64]) {
        score_least(candidates, scores, |row| row.running);
    }
}

impl Plugin for RunningRequestsSizeScorer {
    const TYPE: &'static str = "running-requests-size-scorer";
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
            row.running = value;
        }
        assert_eq!(scores(&RunningRequestsSizeScorer, &request(1, 0), &rows), [0.0, 1.0, 0.75]);
    }

    #[test]
    fn equal_values_all_get_one() {
        let endpoints = endpoints(2);
        let mut rows = rows(&endpoints);
        rows.iter_mut().for_each(|row| row.running = 7.0);
        assert_eq!(scores(&RunningRequestsSizeScorer, &request(1, 0), &rows), [1.0, 1.0]);
        assert_eq!(scores(&RunningRequestsSizeScorer, &request(1, 0), &[]), [0.0; 0]);
    }
}
