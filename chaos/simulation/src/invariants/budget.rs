//! `gossip_stays_within_budget`.
//!
//! Must not know chitchat. A value that does not fit a datagram would silently block all later keys of its origin.

use murmuration::replication::pages::KEYS_MAX;

use super::{About, Broken, Invariant, Scene, broken};
use crate::history::Entry;

/// The most bytes of one value.
const VALUE_BYTES_MAX: usize = 16 << 10;
/// The most bytes of all values and keys of one replica.
const TOTAL_BYTES_MAX: usize = 256 << 10;

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct GossipStaysWithinBudget;

// === impl GossipStaysWithinBudget ===

impl Invariant for GossipStaysWithinBudget {
    fn about(&self) -> About {
        About::safety(
            "gossip_stays_within_budget",
            "a replica gossips at most 84 keys, at most 16 KiB in one value, and at most 256 KiB in all",
        )
    }

    fn see(&mut self, entry: &Entry, _scene: &Scene) -> Result<(), Broken> {
        let Some((replica, snapshot)) = entry.snapshot() else { return Ok(()) };
        if let Some((key, bytes)) = snapshot.gossip.iter().find(|(_, bytes)| **bytes > VALUE_BYTES_MAX) {
            return broken!("replica-{replica} gossips {bytes} bytes under {key}, at most {VALUE_BYTES_MAX}");
        }
        let total: usize = snapshot.gossip.iter().map(|(key, bytes)| key.len() + bytes).sum();
        if total > TOTAL_BYTES_MAX {
            return broken!("replica-{replica} gossips {total} bytes, at most {TOTAL_BYTES_MAX}");
        }
        match snapshot.gossip.len() {
            keys if keys > KEYS_MAX => broken!("replica-{replica} gossips {keys} keys, at most {KEYS_MAX}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::HistoryBuilder;

    fn gossiped(keys: usize, bytes: usize) -> HistoryBuilder {
        let mut history = HistoryBuilder::calm();
        history.sees(0, |snapshot| snapshot.gossip = (0..keys).map(|key| (format!("{key:02}"), bytes)).collect());
        history
    }

    #[test]
    fn each_bound_is_kept_to_the_byte() {
        assert_eq!(gossiped(15, VALUE_BYTES_MAX).check(GossipStaysWithinBudget), Ok(()));
        gossiped(1, VALUE_BYTES_MAX + 1).breaks(GossipStaysWithinBudget, "gossips 16385 bytes under 00");
        let part = TOTAL_BYTES_MAX / 32 - 2;
        assert_eq!(gossiped(32, part).check(GossipStaysWithinBudget), Ok(()));
        gossiped(32, part + 1).breaks(GossipStaysWithinBudget, "gossips 262176 bytes, at most");
        assert_eq!(gossiped(KEYS_MAX, 1).check(GossipStaysWithinBudget), Ok(()));
        gossiped(KEYS_MAX + 1, 1).breaks(GossipStaysWithinBudget, "gossips 85 keys");
    }
}
