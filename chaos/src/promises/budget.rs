//! `gossip_stays_within_budget`.
//!
//! Must not know chitchat: a value that does not fit a datagram would silently block all later keys of its origin.

use murmuration::replication::pages::KEYS_MAX;

use super::{Broken, Promise, Scene, broken};
use crate::chronicle::{Entry, Fact, Witness};

/// Bytes of one value, at most.
const VALUE_BYTES_MAX: usize = 16 << 10;
/// Bytes of all values and keys of one replica, at most.
const TOTAL_BYTES_MAX: usize = 256 << 10;

/// See [`Promise::meaning`].
#[derive(Debug, Default)]
pub(super) struct GossipStaysWithinBudget;

// === impl GossipStaysWithinBudget ===

impl Promise for GossipStaysWithinBudget {
    fn name(&self) -> &'static str {
        "gossip_stays_within_budget"
    }

    fn meaning(&self) -> &'static str {
        "no value that a replica gossips is larger than 16 KiB, all together are at most 256 KiB, under 84 keys"
    }

    fn see(&mut self, entry: &Entry, _scene: &Scene) -> Result<(), Broken> {
        let (Fact::Looked(look), Witness::Replica(replica, _)) = (&entry.fact, entry.by) else { return Ok(()) };
        if let Some((key, bytes)) = look.gossip.iter().find(|(_, bytes)| **bytes > VALUE_BYTES_MAX) {
            return broken!("replica-{replica} gossips {bytes} bytes under {key}, at most {VALUE_BYTES_MAX}");
        }
        let total: usize = look.gossip.iter().map(|(key, bytes)| key.len() + bytes).sum();
        if total > TOTAL_BYTES_MAX {
            return broken!("replica-{replica} gossips {total} bytes, at most {TOTAL_BYTES_MAX}");
        }
        match look.gossip.len() {
            keys if keys > KEYS_MAX => broken!("replica-{replica} gossips {keys} keys, at most {KEYS_MAX}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promises::testing::{Tale, well};

    fn gossiped(keys: usize, bytes: usize) -> Tale {
        let mut tale = Tale::calm();
        let mut look = well(0);
        look.gossip = (0..keys).map(|key| (format!("{key:02}"), bytes)).collect();
        tale.look(0, look);
        tale
    }

    #[test]
    fn each_bound_is_kept_to_the_byte() {
        assert_eq!(gossiped(15, VALUE_BYTES_MAX).judged(GossipStaysWithinBudget), Ok(()));
        gossiped(1, VALUE_BYTES_MAX + 1).breaks(GossipStaysWithinBudget, "gossips 16385 bytes under 00");
        let share = TOTAL_BYTES_MAX / 32 - 2;
        assert_eq!(gossiped(32, share).judged(GossipStaysWithinBudget), Ok(()));
        gossiped(32, share + 1).breaks(GossipStaysWithinBudget, "gossips 262176 bytes, at most");
        assert_eq!(gossiped(KEYS_MAX, 1).judged(GossipStaysWithinBudget), Ok(()));
        gossiped(KEYS_MAX + 1, 1).breaks(GossipStaysWithinBudget, "gossips 85 keys");
    }
}
