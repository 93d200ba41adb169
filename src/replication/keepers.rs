//! Which replica watches which endpoint: rendezvous hashing over the live replicas, those of the endpoint's zone first.
//!
//! There is no leader: every replica computes the same answer from the same members, without asking. Must not know how
//! liveness is determined.

use std::time::Duration;

use crate::chance::mix;
use crate::id::{EndpointKey, ReplicaId};

/// The silence of a keeper after which its successor takes over by itself. The next successor waits twice as long, and
/// so on.
pub const SUCCESSOR_WAIT_MIN: Duration = Duration::from_secs(1);

/// The silence after which a successor takes over, where engines are scraped once each `interval`: two scrapes may
/// fail.
pub fn successor_waits(interval: Duration) -> Duration {
    SUCCESSOR_WAIT_MIN.max(interval.saturating_mul(2))
}

/// A live replica as a candidate for keeping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keeper {
    /// The replica.
    pub replica: ReplicaId,
    /// Its zone; empty when it is not set.
    pub zone: String,
}

/// The live replicas, this one among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keepers {
    live: Vec<Keeper>,
}

// === impl Keepers ===

impl Keepers {
    /// The live replicas in any order.
    pub fn new(live: Vec<Keeper>) -> Self {
        Self { live }
    }

    /// The rank of `replica` among the keepers of `endpoint`: `0` keeps it, `1` is the successor. A replica that is not
    /// among the live ones keeps everything: it is on its own.
    pub fn rank(&self, replica: &ReplicaId, endpoint: EndpointKey, zone: &str) -> usize {
        let Some(own) = self.live.iter().find(|keeper| keeper.replica == *replica) else { return 0 };
        let own = claim(own, endpoint, zone);
        self.live.iter().filter(|other| claim(other, endpoint, zone) > own).count()
    }

    /// Whether `replica` must watch `endpoint` now: as its keeper, or because nothing was received about the endpoint
    /// for `silence`. By then every replica ranked before it, scraping once each `interval`, has had time to publish.
    pub fn must_watch(
        &self,
        replica: &ReplicaId,
        endpoint: EndpointKey,
        zone: &str,
        silence: Duration,
        interval: Duration,
    ) -> bool {
        let rank = self.rank(replica, endpoint, zone);
        rank == 0 || silence > successor_waits(interval).saturating_mul(u32::try_from(rank).unwrap_or(u32::MAX))
    }

    /// How many replicas are live.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether no live replica is known.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }
}

/// The strength of a claim: the same zone beats another, then the hash decides, then the name.
fn claim<'a>(keeper: &'a Keeper, endpoint: EndpointKey, zone: &str) -> (bool, u64, &'a ReplicaId) {
    let same_zone = !zone.is_empty() && keeper.zone == zone;
    (same_zone, mix(keeper.replica.key() ^ mix(endpoint.0)), &keeper.replica)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keepers(names: &[(&str, &str)]) -> Keepers {
        let keeper = |(name, zone): &(&str, &str)| Keeper { replica: ReplicaId((*name).into()), zone: (*zone).into() };
        Keepers::new(names.iter().map(keeper).collect())
    }

    fn keeper_of(keepers: &Keepers, endpoint: u64, zone: &str) -> ReplicaId {
        let of: Vec<_> =
            keepers.live.iter().filter(|k| keepers.rank(&k.replica, EndpointKey(endpoint), zone) == 0).collect();
        assert_eq!(of.len(), 1, "exactly one keeps it");
        of[0].replica.clone()
    }

    #[test]
    fn each_endpoint_has_one_keeper_and_the_work_is_spread() {
        let keepers = keepers(&[("a", ""), ("b", ""), ("c", "")]);
        let kept = (0..3000).filter(|&e| keeper_of(&keepers, mix(e), "").0 == "b").count();
        assert!((900..1100).contains(&kept), "{kept}");
    }

    #[test]
    fn when_one_dies_only_its_endpoints_move_and_to_their_successors() {
        let (all, left) = (keepers(&[("a", ""), ("b", ""), ("c", "")]), keepers(&[("a", ""), ("c", "")]));
        for endpoint in (0..500).map(mix) {
            let (before, after) = (keeper_of(&all, endpoint, ""), keeper_of(&left, endpoint, ""));
            let successor =
                all.live.iter().find(|k| all.rank(&k.replica, EndpointKey(endpoint), "") == 1).map(|k| &k.replica);
            assert!(before == after || before.0 == "b" && successor == Some(&after));
        }
    }

    #[test]
    fn the_endpoints_zone_comes_first() {
        let keepers = keepers(&[("a", "x"), ("b", "y"), ("c", "y")]);
        assert!((0..100).map(mix).all(|e| keeper_of(&keepers, e, "x").0 == "a"));
        assert!((0..100).map(mix).all(|e| keeper_of(&keepers, e, "y").0 != "a"));
        assert!((0..100).map(mix).any(|e| keeper_of(&keepers, e, "z").0 == "b"));
    }

    #[test]
    fn successors_take_over_one_after_the_other_when_nothing_is_received() {
        let keepers = keepers(&[("a", ""), ("b", ""), ("c", "")]);
        let watching = |silence, interval| {
            let watches = |k: &&Keeper| keepers.must_watch(&k.replica, EndpointKey(1), "", silence, interval);
            keepers.live.iter().filter(watches).count()
        };
        let watchers = |silence| watching(silence, Duration::from_millis(50));
        let tick = Duration::from_micros(1);
        assert_eq!(
            [Duration::ZERO, SUCCESSOR_WAIT_MIN, SUCCESSOR_WAIT_MIN + tick, SUCCESSOR_WAIT_MIN * 2 + tick]
                .map(watchers),
            [1, 1, 2, 3]
        );
        let seldom = |seconds| watching(Duration::from_secs(seconds), Duration::from_secs(15));
        assert_eq!([14, 30, 31, 61].map(seldom), [1, 1, 2, 3], "silence between two scrapes does not count");
    }

    #[test]
    fn a_replica_that_is_not_among_the_live_ones_keeps_everything() {
        assert_eq!(keepers(&[("a", "")]).rank(&ReplicaId("me".into()), EndpointKey(1), ""), 0);
        assert_eq!(Keepers::default().rank(&ReplicaId("me".into()), EndpointKey(1), ""), 0);
    }
}
