//! `views_are_equal`.
//!
//! Must not know what a view consists of: two replicas with the same beliefs have the same digest. While requests
//! arrive, each replica knows its own first, so views are compared after the last request.
//!
//! A placement is published once, and peer streams repeat it to a new replica only as far as their history goes. So
//! prefixes are compared only with peer streams, among replicas that never stopped. Whether a placement came before or
//! after an engine lost its cache is known only to within the time that a message takes, and replicas discover at
//! different moments that another engine has its name. So they are not compared if an engine ended or was replaced.

use std::collections::BTreeMap;

use murmuration::scheduler::BeliefDigest;

use super::{About, Broken, Invariant, RECOVERY, Scene, broken};
use crate::history::{Entry, Fact, Source};

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct ViewsAreEqual {
    digests: BTreeMap<usize, (BeliefDigest, bool)>,
}

// === impl ViewsAreEqual ===

impl Invariant for ViewsAreEqual {
    fn about(&self) -> About {
        About::recovery(
            "views_are_equal",
            "2 s after the last request all live replicas believe the same of engines and load; with peer streams, those that never died believe the same of prefixes, unless an engine ended or was replaced",
        )
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        match (&entry.fact, entry.by) {
            (Fact::Stopped, Source::Replica(replica, _)) => {
                self.digests.remove(&replica);
            }
            (Fact::SnapshotTaken(snapshot), Source::Replica(replica, start)) if scene.rests(RECOVERY) => {
                let knows_all = start == 0 && scene.plan().cluster.peer_streams && !scene.engines_replaced();
                self.digests.insert(replica, (snapshot.digest, knows_all));
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, _scene: &Scene) -> Result<(), Broken> {
        let pairs = self.digests.iter().flat_map(|one| self.digests.range(one.0 + 1..).map(move |other| (one, other)));
        for ((first, (one, knows_all)), (second, (other, knows_all_too))) in pairs {
            let differences = differences(one, other, *knows_all && *knows_all_too);
            if !differences.is_empty() {
                return broken!("replica-{first} and replica-{second} differ in {}", differences.join(", "));
            }
        }
        Ok(())
    }
}

/// The kinds of beliefs that differ.
fn differences(one: &BeliefDigest, other: &BeliefDigest, prefixes: bool) -> Vec<&'static str> {
    let kinds = [
        ("endpoints", one.endpoints != other.endpoints),
        ("reports", one.reports != other.reports),
        ("open work", one.shares != other.shares),
        ("prefixes", prefixes && one.prefixes != other.prefixes),
    ];
    kinds.into_iter().filter(|(_, differs)| *differs).map(|(kind, _)| kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Phase, Snapshot};
    use crate::invariants::testing::{HistoryBuilder, well};

    fn believed(at: u64) -> HistoryBuilder {
        let mut history = HistoryBuilder::calm();
        history.phase(10_000, Phase::Quiesced).at(at).snapshot(0, well(0));
        history.snapshot(1, Snapshot { digest: BeliefDigest { reports: 1, ..well(1).digest }, ..well(1) });
        history
    }

    #[test]
    fn after_the_last_request_all_believe_the_same() {
        assert_eq!(believed(11_999).check(ViewsAreEqual::default()), Ok(()));
        believed(12_000).breaks(ViewsAreEqual::default(), "replica-0 and replica-1 differ in reports");
    }

    #[test]
    fn the_last_snapshot_counts_and_the_dead_do_not() {
        let mut history = believed(12_000);
        history.at(12_100).snapshot(1, well(1));
        assert_eq!(history.check(ViewsAreEqual::default()), Ok(()));
        let mut history = believed(12_000);
        history.by(1, Fact::Stopped);
        assert_eq!(history.check(ViewsAreEqual::default()), Ok(()));
    }

    #[test]
    fn a_restarted_replica_may_know_less_of_prefixes() {
        for (start, right) in [(0, false), (1, true)] {
            let mut history = HistoryBuilder::calm();
            history.phase(10_000, Phase::Quiesced).at(12_000).snapshot(0, well(0));
            let digest = BeliefDigest { prefixes: 8, ..well(1).digest };
            let fact = Fact::SnapshotTaken(Box::new(Snapshot { digest, ..well(1) }));
            history.entries.push(Entry { at: std::time::Duration::from_secs(12), by: Source::Replica(1, start), fact });
            assert_eq!(history.check(ViewsAreEqual::default()).is_ok(), right);
        }
    }
}
