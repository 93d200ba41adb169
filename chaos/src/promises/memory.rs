//! `memory_is_flat`.
//!
//! Must not know how anything is forgotten. An endpoint that left may be remembered for as long as a late word on it could come; after that
//! what is kept is bounded by what is alive, however many have been there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use murmuration::id::EndpointId;

use super::{Broken, Promise, Scene, broken};
use crate::chronicle::{Entry, Fact, Witness};

/// For how long after it left an endpoint may be remembered: a minute in which a word may be late, once more for a word that came in it, and
/// what it takes to notice.
const REMEMBERED: Duration = Duration::from_secs(125);

/// Words that came late to some may be kept a little longer.
const SLACK: usize = 2;

/// See [`Promise::meaning`].
#[derive(Debug, Default)]
pub(super) struct MemoryIsFlat {
    /// What discovery last announced to each replica.
    announced: BTreeMap<usize, BTreeSet<EndpointId>>,
    /// Endpoints that are announced to nobody any more, and since when.
    left: BTreeMap<EndpointId, Duration>,
}

// === impl MemoryIsFlat ===

impl Promise for MemoryIsFlat {
    fn name(&self) -> &'static str {
        "memory_is_flat"
    }

    fn meaning(&self) -> &'static str {
        "what is kept of each peer speaks of no more endpoints than were there within the last 125 s, and a tenth (and 2)"
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        let Witness::Replica(replica, _) = entry.by else { return Ok(()) };
        match &entry.fact {
            Fact::Announced(endpoints) => self.announce(replica, endpoints, entry.at),
            Fact::Looked(look) => {
                let here: BTreeSet<&EndpointId> = self.announced.values().flatten().collect();
                let since = scene.now().saturating_sub(REMEMBERED);
                let of_late = here.len() + self.left.values().filter(|left| **left >= since).count();
                let most = of_late + of_late / 10 + SLACK;
                for peer in &look.fleet.peers {
                    let (kept, name) = (peer.endpoints, &peer.replica);
                    if kept > most {
                        return broken!(
                            "replica-{replica} keeps what {name} said of {kept} endpoints, of which {of_late} were there of late"
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
    use crate::promises::testing::{Tale, engine, well};

    /// Engine 0 leaves at 5 s, and is announced to nobody; replica 1 keeps so many endpoints of replica 0.
    fn kept(endpoints: usize, at: u64) -> Tale {
        let mut tale = Tale::calm();
        (0..2).for_each(|replica| tale.by(replica, Fact::Announced(vec![engine(0), engine(1)])));
        tale.at(4_000).by(0, Fact::Announced(vec![engine(1)]));
        tale.at(5_000).by(1, Fact::Announced(vec![engine(1)]));
        let mut look = well(1);
        look.fleet.peers[0].endpoints = endpoints;
        tale.at(at).look(1, look);
        tale
    }

    #[test]
    fn an_endpoint_that_left_may_be_remembered_for_a_while() {
        assert_eq!(kept(2 + SLACK, 130_000).judged(MemoryIsFlat::default()), Ok(()));
        assert_eq!(kept(1 + SLACK, 150_000).judged(MemoryIsFlat::default()), Ok(()));
        kept(2 + SLACK, 130_001).breaks(MemoryIsFlat::default(), "said of 4 endpoints, of which 1 were there of late");
    }

    #[test]
    fn whoever_comes_back_counts_again() {
        let mut tale = kept(2 + SLACK, 6_000);
        tale.at(7_000).by(0, Fact::Announced(vec![engine(0), engine(1)]));
        let mut look = well(1);
        look.fleet.peers[0].endpoints = 2 + SLACK;
        tale.at(200_000).look(1, look);
        assert_eq!(tale.judged(MemoryIsFlat::default()), Ok(()));
    }
}
