//! Virtual time: a queue of events in the order of their time. Events of one moment keep the order of planning.
//!
//! Must not know what an event does.

use std::collections::BTreeMap;

use murmuration::time::Timestamp;

/// The events to come, by time and by the number of their planning.
#[derive(Debug)]
pub struct Queue<T> {
    events: BTreeMap<(Timestamp, u64), T>,
    planned: u64,
}

// === impl Queue ===

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { events: BTreeMap::new(), planned: 0 }
    }
}

impl<T> Queue<T> {
    /// Plans `what` for `at`.
    pub fn plan(&mut self, at: Timestamp, what: T) {
        self.planned += 1;
        self.events.insert((at, self.planned), what);
    }

    /// Takes the next event.
    pub fn take(&mut self) -> Option<(Timestamp, T)> {
        self.events.pop_first().map(|((at, _), what)| (at, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_equals_keep_their_order() {
        let mut queue = Queue::default();
        for (at, what) in [(5, 'c'), (1, 'a'), (5, 'd'), (2, 'b')] {
            queue.plan(Timestamp::from_millis(at), what);
        }
        let order: String = std::iter::from_fn(|| queue.take()).map(|(_, what)| what).collect();
        assert_eq!(order, "abcd");
    }
}
