//! A ring buffer of the last decisions, for explanations.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::schedule::Decision;

/// Decisions that a pool keeps at most.
pub const RECENT_MAX: usize = 1024;
/// Decisions that all pools of a replica keep together, and that each may keep however many pools there are. With twenty
/// endpoints one takes about 5 KB.
const RECENT_OF_ALL: usize = 4096;
const RECENT_MIN: usize = 32;

/// How many decisions each of so many pools keeps.
pub fn each_keeps(pools: usize) -> usize {
    (RECENT_OF_ALL / pools.max(1)).clamp(RECENT_MIN, RECENT_MAX)
}

/// A ring of decisions, youngest last.
#[derive(Debug)]
pub struct Recent {
    ring: VecDeque<Arc<Decision>>,
    most: usize,
}

// === impl Recent ===

impl Recent {
    /// A ring of at most `most` decisions, 1 to [`RECENT_MAX`]; the nearest of these counts.
    pub fn new(most: usize) -> Self {
        let most = most.clamp(1, RECENT_MAX);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Explanation;

    #[test]
    fn a_ring_is_bounded_whatever_is_asked_for() {
        for (asked, kept) in [(0, 1), (2, 2), (usize::MAX, RECENT_MAX)] {
            let mut recent = Recent::new(asked);
            (0..2 * RECENT_MAX)
                .for_each(|_| recent.remember(Arc::new(Decision::new(Vec::new(), Explanation::default()))));
            assert_eq!(recent.iter().count(), kept);
        }
    }

    #[test]
    fn many_pools_keep_few_decisions_each_and_no_more_together() {
        assert_eq!([1, 4, 8, 100, 128].map(each_keeps), [1024, 1024, 512, 40, 32]);
        assert!((1..=128).all(|pools| pools * each_keeps(pools) <= RECENT_OF_ALL));
    }
}
