//! `session-affinity-filter`: a session stays on the endpoint that served it, as long as that endpoint is a candidate.
//!
//! Must not know how a session is identified.

use std::sync::Arc;

use crate::plugin::contract::Filter;
use crate::plugin::registration::{Invalid, Kept, Plugin, Produced, Roles};
use crate::plugin::session_affinity::{SessionAffinity, SessionAffinityParameters};
use crate::schedule::{Ask, Candidate};

/// `session-affinity-filter`: keeps only the endpoint that the request's session is bound to, and all endpoints where
/// that one is no candidate or the request has no session.
#[derive(Clone, Debug)]
pub struct SessionAffinityFilter {
    affinity: SessionAffinity,
}

// === impl SessionAffinityFilter ===

impl Filter for SessionAffinityFilter {
    fn filter(&self, _: &Ask<'_>, candidates: &[Candidate<'_>], keep: &mut [bool]) {
        if !candidates.iter().any(|row| self.affinity.is_bound(row)) {
            return;
        }
        for (row, keep) in candidates.iter().zip(keep) {
            *keep = self.affinity.is_bound(row);
        }
    }
}

impl Plugin for SessionAffinityFilter {
    const TYPE: &'static str = "session-affinity-filter";
    const READS: &'static [Produced] = &[];
    type Parameters = SessionAffinityParameters;

    fn build(parameters: SessionAffinityParameters) -> Result<Self, Invalid> {
        Ok(Self { affinity: SessionAffinity::build(parameters)? })
    }

    fn keeps(&self) -> Vec<Kept> {
        self.affinity.keeps()
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::filter(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::plugin::testing::{endpoints, kept, request, rows};

    #[test]
    fn a_bound_session_keeps_its_endpoint_and_an_unbound_one_keeps_all() {
        let endpoints = endpoints(3);
        let mut rows = rows(&endpoints);
        let filter = SessionAffinityFilter::build(SessionAffinityParameters::default()).unwrap();
        assert_eq!(kept(&filter, &request(1, 4), &rows), ["e0", "e1", "e2"]);
        rows[0].session.id = true;
        assert_eq!(kept(&filter, &request(1, 4), &rows).len(), 3, "another strategy's binding");
        rows[1].session.token = true;
        assert_eq!(kept(&filter, &request(1, 4), &rows), ["e1"]);
    }
}
