//! Failures among engines' answers: counted here, published to peers, and summed over all replicas.
//!
//! Must not know HTTP: an outcome says whether an answer was a failure of its engine.

use std::time::Duration;

use crate::fleet::{Failures, Tenancy};
use crate::id::EndpointKey;
use crate::replication::{Failing, Record};
use crate::request::Outcome;
use crate::schedule::View;
use crate::schedule::decision::{FailingExplanation, REMOVED_MAX};
use crate::scheduler::{Outbox, Scheduler};
use crate::time::Timestamp;

// === impl Scheduler: failures ===

impl Scheduler {
    /// Counts the end of a request on the endpoint of `tenancy`. Only completions and engine errors count; other
    /// outcomes say nothing about the engine.
    pub(super) fn answered(&mut self, tenancy: Tenancy, outcome: Outcome, now: Timestamp, out: &mut Outbox) {
        let failed = match outcome {
            Outcome::EngineError => true,
            Outcome::Completed => false,
            Outcome::Abandoned | Outcome::Rejected | Outcome::LeaseExpired | Outcome::Inferred => return,
        };
        self.fleet.answered(tenancy, failed, now);
        let Some(entry) = self.fleet.tenant_of(tenancy).filter(|_| self.settings.sharing) else { return };
        let seen = entry.own_failures();
        if seen.at(now).failures > 0 {
            let failing = Failing { endpoint: entry.endpoint.id.key(), counts: seen.counts() };
            out.publish.push((Record::Failing(failing), seen.seen()));
        }
    }

    /// Takes in a peer's failure counts of an endpoint, `age` old.
    pub(super) fn receive_failing(&mut self, peer: u32, failing: Failing, age: Duration, now: Timestamp) {
        let failures = Failures::new(failing.counts, now - age);
        self.peers.set_failures(peer, failing.endpoint, failures);
        self.refold_failures(failing.endpoint);
    }

    /// Collects the peers' failure counts of an endpoint again.
    pub(super) fn refold_failures(&mut self, endpoint: EndpointKey) {
        if let Some(slot) = self.fleet.named(endpoint) {
            self.fleet.set_foreign_failures(slot, self.peers.failures(endpoint));
        }
    }
}

/// The failing endpoints, for the explanation.
pub(super) fn explained(view: &View<'_>) -> Vec<FailingExplanation> {
    let failing = view.rows.iter().filter_map(|row| Some((&row.endpoint.id, row.failing?))).take(REMOVED_MAX);
    failing.map(|(endpoint, failures)| FailingExplanation { endpoint: endpoint.clone(), failures }).collect()
}
