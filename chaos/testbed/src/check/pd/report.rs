//! The report of `testbed --pd 2x2 --check`: the object that it prints.
//!
//! Must not know how failures are found.

use serde::Serialize;

use super::super::report::Report;
use super::legs::Legs;

/// The verdict on a tier whose engines have roles.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PdReport {
    /// Requests through a picker whose answer and engines were checked.
    pub requests: u64,
    /// How many of them were computed by one engine and decoded by another one.
    pub pairs: u64,
    /// How many of them had their images encoded elsewhere.
    pub encoded: u64,
    /// Share of requests for which every replica, asked directly, gave the same pair; 1 where they share nothing.
    pub agreement: f64,
    /// Answers that came while engines were down: right ones, and errors.
    pub while_down: WhileDown,
    /// How many failures there were.
    pub failures: u64,
    /// The first failures, each in a sentence.
    pub sentences: Vec<String>,
}

/// Answers while engines were down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WhileDown {
    /// Right answers.
    pub right: u64,
    /// Errors with a status of their own and a text.
    pub errors: u64,
}

// === impl PdReport ===

impl PdReport {
    /// Whether nothing failed.
    pub fn passed(&self) -> bool {
        self.failures == 0
    }

    /// Counts a request.
    pub(super) fn note(&mut self, legs: &Legs) {
        self.requests += 1;
        self.pairs += u64::from(legs.prefill.is_some());
        self.encoded += u64::from(legs.encode.is_some());
    }

    /// The figures and what failed.
    pub(super) fn with(self, report: Report) -> Self {
        let Report { failures, sentences, .. } = report;
        Self { failures, sentences, ..self }
    }
}
