//! `active-request-scorer`: fewer requests that are dispatched and not finished are better.
//!
//! Must not know how they are counted.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::plugin::contract::Scorer;
use crate::plugin::registration::{Invalid, Plugin, Produced, Roles};
use crate::schedule::{Ask, Candidate};

/// llm-d's parameters and defaults.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ActiveRequestParameters {
    /// Requests up to which an endpoint counts as idle, 0 or more.
    pub idle_threshold: u32,
    /// The best score of an endpoint that is not idle, 0 to 1.
    pub max_busy_score: f64,
    /// The name of the `inflight-load-producer` to use, if it differs from its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight_load_producer_name: Option<String>,
    /// Accepted and ignored, as in llm-d.
    #[serde(skip_serializing)]
    pub request_timeout: Option<String>,
}

/// `active-request-scorer`: fewer requests that are dispatched and not finished are better. Idle endpoints score 1,
/// others `(most - count) / most * maxBusyScore`.
#[derive(Clone, Debug)]
pub struct ActiveRequestScorer {
    idle_threshold: u32,
    max_busy_score: f64,
}

// === impl ActiveRequestParameters ===

impl Default for ActiveRequestParameters {
    fn default() -> Self {
        Self { idle_threshold: 0, max_busy_score: 1.0, in_flight_load_producer_name: None, request_timeout: None }
    }
}

// === impl ActiveRequestScorer ===

impl Scorer for ActiveRequestScorer {
    fn score(&self, _: &Ask<'_>, candidates: &[Candidate<'_>], scores: &mut [f64]) {
        let most = candidates.iter().map(|row| row.in_flight.requests).max().unwrap_or(0);
        for (row, score) in candidates.iter().zip(scores) {
            let count = row.in_flight.requests;
            *score = match count <= self.idle_threshold {
                true => 1.0,
                false => f64::from(most - count) / f64::from(most) * self.max_busy_score,
            };
        }
    }
}

impl Plugin for ActiveRequestScorer {
    const TYPE: &'static str = "active-request-scorer";
    const READS: &'static [Produced] = &[Produced::InFlightLoad];
    type Parameters = ActiveRequestParameters;

    fn build(parameters: ActiveRequestParameters) -> Result<Self, Invalid> {
        let ActiveRequestParameters { idle_threshold, max_busy_score, .. } = parameters;
        if !(0.0..=1.0).contains(&max_busy_score) {
            return Err(format!("maxBusyScore must be within 0 and 1, got {max_busy_score}"));
        }
        Ok(Self { idle_threshold, max_busy_score })
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::scorer(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::plugin::testing::{endpoints, request, rows, scores};

    fn scored(idle_threshold: u32, max_busy_score: f64) -> Vec<f64> {
        let rest = ActiveRequestParameters::default();
        let scorer = ActiveRequestScorer::build(ActiveRequestParameters { idle_threshold, max_busy_score, ..rest });
        let endpoints = endpoints(4);
        let mut rows = rows(&endpoints);
        for (row, requests) in rows.iter_mut().zip([0, 1, 2, 4]) {
            row.in_flight.requests = requests;
        }
        scores(&scorer.unwrap(), &request(1, 0), &rows)
    }

    #[test]
    fn idle_endpoints_score_one_and_busy_ones_their_distance_to_the_busiest() {
        assert_eq!(scored(0, 1.0), [1.0, 0.75, 0.5, 0.0]);
        assert_eq!(scored(1, 0.5), [1.0, 1.0, 0.25, 0.0]);
        assert_eq!(scored(9, 0.5), [1.0; 4]);
    }

    #[test]
    fn a_score_out_of_range_is_refused() {
        let parameters = ActiveRequestParameters { max_busy_score: 2.0, ..ActiveRequestParameters::default() };
        assert!(ActiveRequestScorer::build(parameters).unwrap_err().contains("maxBusyScore"));
    }
}
