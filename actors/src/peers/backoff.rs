//! How long a follower waits before it calls again.
//!
//! Must not know why the last call failed. The spread is not random: it follows from the two names, so that followers
//! do not all call a returning peer at the same moment.

use std::time::Duration;

use murmuration::chance::Chance;
use murmuration::id::ReplicaId;

/// The pause after the first failure.
const SHORTEST: Duration = Duration::from_millis(50);
/// The pause after many failures.
const LONGEST: Duration = Duration::from_secs(2);

/// The pause after `failures` failed calls in a row (from 1). It doubles from 50 ms to 2 s, less up to half of it.
pub(super) fn pause(me: &ReplicaId, peer: &ReplicaId, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let whole = SHORTEST.saturating_mul(1 << doublings).min(LONGEST);
    let seed = me.key().rotate_left(1) ^ peer.key() ^ u64::from(failures);
    whole.mul_f64(1.0 - Chance::from_seed(seed).unit() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(me: &str, failures: u32) -> Duration {
        pause(&ReplicaId(me.into()), &ReplicaId("peer".into()), failures)
    }

    #[test]
    fn the_pause_grows_from_its_shortest_to_its_longest() {
        for (failures, most) in [(1, 50), (2, 100), (5, 800), (6, 1_600), (7, 2_000), (u32::MAX, 2_000)] {
            let (pause, most) = (of("me", failures), Duration::from_millis(most));
            assert!(pause <= most && pause >= most / 2, "{failures} failures: {pause:?}");
        }
    }

    #[test]
    fn two_followers_of_one_peer_do_not_call_at_the_same_moment() {
        assert_ne!(of("a", 7), of("b", 7));
        assert_eq!(of("a", 7), of("a", 7));
    }
}
