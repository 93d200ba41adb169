//! `views_are_equal`.
//!
//! Must not know what a view is made of: two replicas that believe the same have the same digest. While requests come, each replica knows
//! of its own first, so views are compared when no one asks. Where prefixes are is told once, and repeated to newcomers by peer streams as far
//! as their history goes. And a placement that did not come true takes back what another origin's placement of the same prompt says, or is
//! overruled by it, as they are heard. So in prefixes views must be equal where there are streams, among those who lived through it all, if no request
//! was broken off.

use std::collections::BTreeMap;

use murmuration::scheduler::BeliefDigest;

use super::{Broken, HEALING, Kind, Promise, Scene, broken};
use crate::chronicle::{Entry, Fact, Witness};
use crate::plan::Fault;

/// See [`Promise::meaning`].
#[derive(Debug, Default)]
pub(super) struct ViewsAreEqual {
    digests: BTreeMap<usize, (BeliefDigest, bool)>,
}

// === impl ViewsAreEqual ===

impl Promise for ViewsAreEqual {
    fn name(&self) -> &'static str {
        "views_are_equal"
    }

    fn meaning(&self) -> &'static str {
        "2 s after the last request all living replicas believe the same of engines and load, and with streams if no request was broken off, those who never died of prefixes"
    }

    fn kind(&self) -> Kind {
        Kind::Healing
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        match (&entry.fact, entry.by) {
            (Fact::Gone, Witness::Replica(replica, _)) => {
                self.digests.remove(&replica);
            }
            (Fact::Looked(look), Witness::Replica(replica, life)) if scene.rests(HEALING) => {
                let knows_all = life == 0 && scene.plan().town.peer_streams && !scene.feels(scene.now(), breaks_off);
                self.digests.insert(replica, (look.digest, knows_all));
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

/// Whether such a fault makes clients, gateways or engines break requests off.
fn breaks_off(fault: &Fault) -> bool {
    use Fault::{ClockStep, Cut, Delay, EndpointChurn, EngineKill, Freeze, Kill, KillPart, Loss, Vanish};
    let hinders = matches!(fault, Cut { .. } | Loss { .. } | Delay { .. } | Vanish { .. });
    let kills = matches!(fault, EngineKill { .. } | Kill { .. } | KillPart { .. } | ClockStep { .. });
    hinders || kills || matches!(fault, Freeze { .. } | EndpointChurn { .. })
}

/// The kinds of beliefs that differ.
fn differences(one: &BeliefDigest, other: &BeliefDigest, prefixes: bool) -> Vec<&'static str> {
    let kinds = [
        ("endpoints", one.endpoints != other.endpoints),
        ("reports", one.reports != other.reports),
        ("shares", one.shares != other.shares),
        ("prefixes", prefixes && one.prefixes != other.prefixes),
    ];
    kinds.into_iter().filter(|(_, differs)| *differs).map(|(kind, _)| kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chronicle::{Look, Phase};
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

    #[test]
    fn a_newcomer_may_know_less_of_prefixes() {
        for (life, right) in [(0, false), (1, true)] {
            let mut tale = Tale::calm();
            tale.phase(10_000, Phase::Rest).at(12_000).look(0, well(0));
            let digest = BeliefDigest { prefixes: 8, ..well(1).digest };
            let fact = Fact::Looked(Box::new(Look { digest, ..well(1) }));
            tale.entries.push(Entry { at: std::time::Duration::from_secs(12), by: Witness::Replica(1, life), fact });
            assert_eq!(tale.judged(ViewsAreEqual::default()).is_ok(), right);
        }
    }
}
