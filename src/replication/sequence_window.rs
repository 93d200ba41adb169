//! Which of an origin's numbers were received already: a sliding window.
//!
//! Must not know what the numbers stand for.

/// Numbers that the window covers, below the highest one received.
const WINDOW: u64 = 32_768;

/// A window over the last numbers.
#[derive(Clone, Debug)]
pub(super) struct SequenceWindow {
    bits: Box<[u64]>,
    highest: u64,
}

// === impl SequenceWindow ===

impl SequenceWindow {
    pub(super) fn new() -> Self {
        Self { bits: vec![0; (WINDOW / 64) as usize].into(), highest: 0 }
    }

    /// Records `seq`; `false` when it was received before, or is too old to tell.
    pub(super) fn first_time(&mut self, seq: u64) -> bool {
        if seq > self.highest {
            let skipped = (seq - self.highest).min(WINDOW);
            (1..=skipped).for_each(|back| self.set(seq - (skipped - back), false));
            self.highest = seq;
        } else if self.highest - seq >= WINDOW || self.get(seq) {
            return false;
        }
        self.set(seq, true);
        true
    }

    /// Whether `seq` was received, or is too old to tell.
    pub(super) fn has(&self, seq: u64) -> bool {
        seq <= self.highest && (self.highest - seq >= WINDOW || self.get(seq))
    }

    fn get(&self, seq: u64) -> bool {
        let at = seq % WINDOW;
        self.bits[(at / 64) as usize] >> (at % 64) & 1 == 1
    }

    fn set(&mut self, seq: u64, received: bool) {
        let at = seq % WINDOW;
        let word = &mut self.bits[(at / 64) as usize];
        *word = *word & !(1 << (at % 64)) | u64::from(received) << (at % 64);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_behind_the_window_count_as_received() {
        let mut window = SequenceWindow::new();
        assert!(window.first_time(1) && window.first_time(WINDOW));
        assert!(window.first_time(2) && !window.first_time(2));
        assert!(window.first_time(WINDOW * 5) && !window.first_time(3));
    }

    proptest! {
        #[test]
        fn each_number_is_new_once(steps in proptest::collection::vec(1u64..500, 1..300)) {
            let (mut window, mut seen) = (SequenceWindow::new(), BTreeSet::new());
            for seq in steps {
                prop_assert_eq!(window.has(seq), seen.contains(&seq));
                prop_assert_eq!(window.first_time(seq), seen.insert(seq));
            }
        }
    }
}
