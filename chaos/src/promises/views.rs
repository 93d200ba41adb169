//! `views_are_equal`.
//!
//! Must not know what a view is made of: two replicas that believe the same have the same digest. While requests come, each replica knows
//! of its own first, so views are compared when no one asks.

use std::collections::BTreeMap;

use murmuration::scheduler::BeliefDigest;

use super::{Broken, HEALING, Kind, Promise, Scene, broken};
use crate::chronicle::{Entry, Fact, Phase, Witness};

/// See [`Promise::meaning`].
#[derive(Debug, Default)]
pub(super) struct ViewsAreEqual {
    digests: BTreeMap<usize, BeliefDigest>,
}

// === impl ViewsAreEqual ===

impl Promise for ViewsAreEqual {
    fn name(&self) -> &'static str {
        "views_are_equal"
    }

    fn meaning(&self) -> &'static str {
        "2 s after the last request all living replicas believe the same"
    }

    fn kind(&self) -> Kind {
        Kind::Healing
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        match (&entry.fact, entry.by) {
            (Fact::Gone, Witness::Replica(replica, _)) => {
                self.digests.remove(&replica);
            }
            (Fact::Looked(look), Witness::Replica(replica, _)) if scene.settled(Phase::Rest, HEALING) => {
                self.digests.insert(replica, look.digest);
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, _scene: &Scene) -> Result<(), Broken> {
        let mut digests = self.digests.iter();
        let Some((first, digest)) = digests.next() else { return Ok(()) };
        match digests.find(|(_, other)| *other != digest) {
            Some((other, theirs)) => {
                broken!("replica-{first} and replica-{other} differ in {}", differences(digest, theirs).join(", "))
            }
            None => Ok(()),
        }
    }
}

/// The kinds of beliefs that differ.
fn differences(one: &BeliefDigest, other: &BeliefDigest) -> Vec<&'static str> {
    let kinds = [
        ("endpoints", one.endpoints, other.endpoints),
        ("reports", one.reports, other.reports),
        ("shares", one.shares, other.shares),
        ("prefixes", one.prefixes, other.prefixes),
    ];
    kinds.into_iter().filter(|(_, one, other)| one != other).map(|(kind, _, _)| kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chronicle::Look;
    use crate::promises::testing::{Tale, well};

    fn believed(at: u64) -> Tale {
        let mut tale = Tale::calm();
        tale.phase(10_000, Phase::Rest).at(at).look(0, well(0));
        tale.look(1, Look { digest: BeliefDigest { reports: 1, ..well(1).digest }, ..well(1) });
        tale
    }

    #[test]
    fn at_rest_all_believe_the_same() {
        assert_eq!(believed(11_999).judged(ViewsAreEqual::default()), Ok(()));
        believed(12_000).breaks(ViewsAreEqual::default(), "replica-0 and replica-1 differ in reports");
    }

    #[test]
    fn the_last_look_counts_and_the_dead_do_not() {
        let mut tale = believed(12_000);
        tale.at(12_100).look(1, well(1));
        assert_eq!(tale.judged(ViewsAreEqual::default()), Ok(()));
        let mut tale = believed(12_000);
        tale.by(1, Fact::Gone);
        assert_eq!(tale.judged(ViewsAreEqual::default()), Ok(()));
    }
}
