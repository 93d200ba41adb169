//! Which prefill engine is tried next: each of the list once, in its order, then again those whose failure may pass.
//!
//! Must not know how an engine is asked.

/// The most attempts for one request.
const ATTEMPTS_MAX: u32 = 16;

/// The attempts of one request.
#[derive(Clone, Debug)]
pub(crate) struct Attempts {
    /// What is left of the list, in order.
    order: Vec<usize>,
    /// Targets of the list whose last failure may pass.
    again: Vec<usize>,
    left: u32,
    retries: u32,
}

/// One attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// The target's place in the list.
    pub(crate) target: usize,
    /// Whether to pause before it: the engine was tried before.
    pub(crate) pause: bool,
}

// === impl Attempts ===

impl Attempts {
    /// Attempts at `targets` engines, of which `first` goes first, with `retries` further attempts at those that failed.
    pub(crate) fn new(targets: usize, first: usize, retries: u32) -> Self {
        let order = (0..targets).map(|nth| (first + nth) % targets.max(1)).collect();
        Self { order, again: Vec::new(), left: ATTEMPTS_MAX, retries }
    }

    /// The next attempt; `None` when there is none left.
    pub(crate) fn next(&mut self) -> Option<Attempt> {
        self.left = self.left.checked_sub(1)?;
        if !self.order.is_empty() {
            return Some(Attempt { target: self.order.remove(0), pause: false });
        }
        if self.again.is_empty() {
            return None;
        }
        self.retries = self.retries.checked_sub(1)?;
        Some(Attempt { target: self.again.remove(0), pause: true })
    }

    /// The attempt failed; `may_pass` if the same engine may serve the next one.
    pub(crate) fn failed(&mut self, attempt: Attempt, may_pass: bool) {
        if may_pass {
            self.again.push(attempt.target);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_failing(mut attempts: Attempts, may_pass: impl Fn(usize) -> bool) -> Vec<(usize, bool)> {
        let mut tried = Vec::new();
        while let Some(attempt) = attempts.next() {
            tried.push((attempt.target, attempt.pause));
            attempts.failed(attempt, may_pass(attempt.target));
        }
        tried
    }

    #[test]
    fn the_list_is_tried_in_its_order_and_then_again_as_often_as_configured() {
        let tried = |targets, first, retries| all_failing(Attempts::new(targets, first, retries), |_| true);
        assert_eq!(tried(3, 0, 0), [(0, false), (1, false), (2, false)]);
        assert_eq!(tried(1, 0, 2), [(0, false), (0, true), (0, true)]);
        assert_eq!(tried(2, 1, 3), [(1, false), (0, false), (1, true), (0, true), (1, true)]);
        assert_eq!(tried(0, 0, 5), []);
    }

    #[test]
    fn an_engine_whose_failure_does_not_pass_is_not_tried_again() {
        let tried = all_failing(Attempts::new(2, 0, 9), |target| target == 1);
        assert_eq!(&tried[..3], [(0, false), (1, false), (1, true)]);
        assert!(tried[2..].iter().all(|(target, _)| *target == 1));
    }

    #[test]
    fn a_storm_of_retries_is_bounded() {
        assert_eq!(all_failing(Attempts::new(16, 0, 1_000), |_| true).len(), ATTEMPTS_MAX as usize);
        assert_eq!(all_failing(Attempts::new(1, 0, 1_000), |_| true).len(), ATTEMPTS_MAX as usize);
    }
}
