//! `session-affinity-scorer`: the endpoint that is bound to the session scores 1, all others 0.
//!
//! Must not know how a session is identified.

use std::sync::Arc;

use crate::plugin::contract::Scorer;
use crate::plugin::registration::{Invalid, Kept, Plugin, Produced, Roles};
use crate::plugin::session_affinity::{SessionAffinity, SessionAffinityParameters};
use crate::schedule::{Ask, Candidate};

/// `session-affinity-scorer`: the endpoint that the request's session is bound to scores 1, all others 0.
#[derive(Clone, Debug)]
pub struct SessionAffinityScorer {
    affinity: SessionAffinity,
}

// === impl SessionAffinityScorer ===

impl Scorer for SessionAffinityScorer {
    fn score(&self, _: &Ask<'_>, candidates: &[Candidate<'_>], scores: &mut [f64]) {
        for (row, score) in candidates.iter().zip(scores) {
            *score = f64::from(u8::from(self.affinity.is_bound(row)));
        }
    }
}

impl Plugin for SessionAffinityScorer {
    const TYPE: &'static str = "session-affinity-scorer";
    const READS: &'static [Produced] = &[];
    type Parameters = SessionAffinityParameters;

    fn build(parameters: SessionAffinityParameters) -> Result<Self, Invalid> {
        Ok(Self { affinity: SessionAffinity::build(parameters)? })
    }

    fn keeps(&self) -> Vec<Kept> {
        self.affinity.keeps()
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::scorer(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::plugin::session_affinity::Strategy;
    use crate::plugin::testing::{endpoints, request, rows, scores};

    #[test]
    fn only_a_binding_of_the_configured_strategy_scores() {
        let endpoints = endpoints(3);
        let mut rows = rows(&endpoints);
        (rows[0].session.token, rows[2].session.id) = (true, true);
        let by = |strategy| {
            let parameters = SessionAffinityParameters { strategy, ..SessionAffinityParameters::default() };
            SessionAffinityScorer::build(parameters).unwrap()
        };
        assert_eq!(scores(&by(Strategy::EncodedEndpointHeader), &request(1, 4), &rows), [1.0, 0.0, 0.0]);
        assert_eq!(scores(&by(Strategy::SessionId), &request(1, 4), &rows), [0.0, 0.0, 1.0]);
    }
}
