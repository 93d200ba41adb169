//! A ring buffer of the last decisions, for explanations.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::schedule::Decision;

/// A ring of decisions, youngest last.
#[derive(Debug)]
pub struct Recent {
    ring: VecDeque<Arc<Decision>>,
    most: usize,
}

// === impl Recent ===

impl Recent {
    /// A ring of at most `most` decisions.
    pub fn new(most: usize) -> Self {
        Self { ring: VecDeque::with_capacity(most), most }
    }

    /// Adds a decision, and drops the oldest when full.
    pub fn remember(&mut self, decision: Arc<Decision>) {
        if self.ring.len() == self.most {
            self.ring.pop_front();
        }
        self.ring.push_back(decision);
    }

    /// The youngest decision for the request called `request_id`.
    pub fn find(&self, request_id: &str) -> Option<&Arc<Decision>> {
        self.ring.iter().rev().find(|decision| decision.explanation.request_id == request_id)
    }

    /// The decisions, youngest first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Decision>> {
        self.ring.iter().rev()
    }
}
