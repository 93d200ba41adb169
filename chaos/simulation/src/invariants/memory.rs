//! `memory_is_flat`.
//!
//! Must not know how anything is forgotten. An endpoint that left may be remembered as long as a late fact about it can
//! arrive. After that, what is kept is bounded by the endpoints that exist, however many existed before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use murmuration::id::EndpointId;

use super::{About, Broken, Invariant, Scene, broken};
use crate::history::{Entry, Fact, Source};

/// How long after it left an endpoint may be remembered: a minute in which a fact may be late, another minute for a
/// fact that arrived in the first, and the time to notice.
const REMEMBERED: Duration = Duration::from_secs(125);

/// Facts about this many more endpoints may be kept a little longer, since facts arrive late on some replicas.
const SLACK: usize = 2;

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct MemoryIsFlat {
    /// What discovery last announced to each replica.
    announced: BTreeMap<usize, BTreeSet<EndpointId>>,
    /// Endpoints that are no longer announced to any replica, and since when.
    left: BTreeMap<EndpointId, Duration>,
}

// === impl MemoryIsFlat ===

impl Invariant for MemoryIsFlat {
    fn about(&self) -> About {
        About::safety(
            "memory_is_flat",
            "facts kept of each peer are about at most as many endpoints as were announced within the last 125 s, plus 10 % and 2",
        )
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        let Source::Replica(replica, _) = entry.by else { return Ok(()) };
        match &entry.fact {
            Fact::Announced(endpoints) => self.announce(replica, endpoints, entry.at),
            Fact::SnapshotTaken(snapshot) => {
                let here: BTreeSet<&EndpointId> = self.announced.values().flatten().collect();
                let since = scene.now().saturating_sub(REMEMBERED);
                let recent = here.len() + self.left.values().filter(|left| **left >= since).count();
                let most = recent + recent / 10 + SLACK;
                for peer in &snapshot.fleet.peers {
                    let (kept, name) = (peer.endpoints, &peer.replica);
                    if kept > most {
                        return broken!(
                            "replica-{replica} keeps facts of {name} about {kept} endpoints, and {recent} were announced recently"
                        );
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl MemoryIsFlat {
    fn announce(&mut self, replica: usize, endpoints: &[EndpointId], at: Duration) {
        let now: BTreeSet<EndpointId> = endpoints.iter().cloned().collect();
        let before = self.announced.insert(replica, now).unwrap_or_default();
        for endpoint in before {
            if !self.announced.values().any(|here| here.contains(&endpoint)) {
                self.left.insert(endpoint, at);
            }
        }
        self.left.retain(|endpoint, _| !endpoints.contains(endpoint));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::{HistoryBuilder, engine};

    /// From 5 s on engine 0 is announced to no replica; replica 1 keeps facts of replica 0 about `endpoints` endpoints.
    fn kept(endpoints: usize, at: u64) -> HistoryBuilder {
        let mut history = HistoryBuilder::calm();
        (0..2).for_each(|replica| history.by(replica, Fact::Announced(vec![engine(0), engine(1)])));
        history.at(4_000).by(0, Fact::Announced(vec![engine(1)]));
        history.at(5_000).by(1, Fact::Announced(vec![engine(1)]));
        history.at(at).sees(1, |snapshot| snapshot.fleet.peers[0].endpoints = endpoints);
        history
    }

    #[test]
    fn an_endpoint_that_left_may_be_remembered_for_a_while() {
        assert_eq!(kept(2 + SLACK, 130_000).check(MemoryIsFlat::default()), Ok(()));
        assert_eq!(kept(1 + SLACK, 150_000).check(MemoryIsFlat::default()), Ok(()));
        kept(2 + SLACK, 130_001).breaks(MemoryIsFlat::default(), "about 4 endpoints, and 1 were announced recently");
    }

    #[test]
    fn an_endpoint_that_comes_back_counts_again() {
        let mut history = kept(2 + SLACK, 6_000);
        history.at(7_000).by(0, Fact::Announced(vec![engine(0), engine(1)]));
        history.at(200_000).sees(1, |snapshot| snapshot.fleet.peers[0].endpoints = 2 + SLACK);
        assert_eq!(history.check(MemoryIsFlat::default()), Ok(()));
    }
}
