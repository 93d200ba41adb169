//! The checker's report: the object that `testbed --check` prints.
//!
//! Must not know how failures are found.

use std::collections::BTreeMap;

use serde::Serialize;

use super::client_request::Heard;
use super::latency::AddedLatency;

/// Most sentences that are kept; failures beyond them are only counted.
const SENTENCES_MAX: usize = 40;

/// The verdict on a tier.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Requests through a picker, except those that measure latency.
    pub requests: u64,
    /// How many failures there were, in single answers and in answers compared with each other.
    pub failures: u64,
    /// The first failures, each in a sentence.
    pub sentences: Vec<String>,
    /// Of all prompt tokens of requests with a shared prefix, the share found in engines' caches, 0 to 1.
    pub cached_share: f64,
    /// Share of requests that every replica, asked directly, sent to the same engine; 1 where they share nothing.
    pub agreement: f64,
    /// How many of the requests each engine answered.
    pub per_endpoint: BTreeMap<String, u64>,
    /// What the picker adds to a small request.
    pub added_latency_ms: AddedLatency,
}

// === impl Report ===

impl Report {
    /// Whether nothing failed.
    pub fn passed(&self) -> bool {
        self.failures == 0
    }

    pub(super) fn fail(&mut self, sentence: String) {
        self.failures += 1;
        if self.sentences.len() < SENTENCES_MAX {
            self.sentences.push(sentence);
        }
    }

    /// Counts a request that a picker routed, in total and for the engine that answered it.
    pub(super) fn count(&mut self, heard: &Heard) {
        if !heard.picked {
            return;
        }
        self.requests += 1;
        if let Some(engine) = heard.engine() {
            *self.per_endpoint.entry(engine.to_owned()).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_failures_are_counted_and_the_first_are_kept() {
        let mut report = Report::default();
        (0..100).for_each(|number| report.fail(format!("failure {number}")));
        assert_eq!((report.failures, report.sentences.len(), report.passed()), (100, SENTENCES_MAX, false));
    }
}
