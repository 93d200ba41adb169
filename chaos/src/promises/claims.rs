//! `prefix_claims_are_honest`.
//!
//! Must not know the index. A replica can't know what an engine forgot in a restart, so a claim is judged only of engines that have lived
//! through the whole run. Nor can one that leaves the response path (`leave`) know that a request never came to its engine, so there
//! claims are judged only if none can have been lost on its way. All claims are judged together: they may be too high by the stated error.

use super::{Broken, Promise, Scene, broken, names};
use crate::chronicle::{Entry, Fact, Phase};
use crate::plan::{Fault, ResponsePath};

/// Claims that are needed for a judgement.
const CLAIMS_MIN: u64 = 8;
/// By how much all claims together may be too high.
const ERROR: f64 = 0.1;
/// Blocks that a single claim may be too high without counting: the prompt that is being computed right now.
const ON_THE_WAY: u64 = 1;

/// See [`Promise::meaning`].
#[derive(Debug, Default)]
pub(super) struct PrefixClaimsAreHonest {
    claims: u64,
    claimed: u64,
    held: u64,
}

// === impl PrefixClaimsAreHonest ===

impl Promise for PrefixClaimsAreHonest {
    fn name(&self) -> &'static str {
        "prefix_claims_are_honest"
    }

    fn meaning(&self) -> &'static str {
        "after the storm, blocks that replicas believe engines to hold are really held, but for 10 % and what they can't know"
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        let Fact::Twins(twins) = &entry.fact else { return Ok(()) };
        if scene.phase() != Phase::Healed {
            return Ok(());
        }
        for twin in twins {
            let Some(to) = &twin.to else { continue };
            let (claimed, of) = twin.matched;
            if claimed > of {
                return broken!("replica-{} claims {claimed} of {of} blocks on {to}", twin.replica);
            }
            if names::engine(to).is_none_or(|engine| may_have_forgotten(engine, scene)) {
                continue;
            }
            self.claims += 1;
            self.claimed += claimed;
            self.held += twin.held + ON_THE_WAY;
        }
        Ok(())
    }

    fn end(&mut self, _scene: &Scene) -> Result<(), Broken> {
        let Self { claims, claimed, held } = *self;
        match claims >= CLAIMS_MIN && claimed as f64 > held as f64 * (1.0 + ERROR) {
            true => broken!("{claims} claims are of {claimed} blocks, where engines hold {held}"),
            false => Ok(()),
        }
    }
}

/// Whether replicas can't know what became of requests that they sent to the engine.
fn may_have_forgotten(engine: usize, scene: &Scene) -> bool {
    let town = &scene.plan().town;
    let leaves = town.response_path == ResponsePath::Leave;
    scene.feels(scene.now(), |fault| match fault {
        Fault::EngineKill { who } => who.engines(town).contains(&engine),
        Fault::EndpointChurn { .. } => true,
        Fault::Cut { .. } | Fault::Loss { .. } | Fault::Delay { .. } | Fault::Freeze { .. } => leaves,
        Fault::Kill { .. } | Fault::Drain { .. } | Fault::Upgrade { .. } | Fault::Vanish { .. } => leaves,
        Fault::KillPart { .. } | Fault::ClockStep { .. } => leaves,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chronicle::Twin;
    use crate::plan::Place;
    use crate::promises::testing::{Tale, engine};

    fn claimed(blocks: u64, held: u64, faults: Vec<Fault>) -> Tale {
        let struck = !faults.is_empty();
        let mut tale = Tale::with(faults);
        if struck {
            tale.world(Fact::Struck(0));
            tale.world(Fact::Lifted(0));
        }
        tale.phase(9_000, Phase::Healed);
        let twin = Twin { replica: 0, to: Some(engine(2)), matched: (blocks, 100), held };
        tale.at(10_000).world(Fact::Twins(vec![twin; 8]));
        tale
    }

    #[test]
    fn claims_may_be_a_tenth_too_high_and_no_more() {
        assert_eq!(claimed(55, 49, Vec::new()).judged(PrefixClaimsAreHonest::default()), Ok(()));
        claimed(56, 49, Vec::new()).breaks(PrefixClaimsAreHonest::default(), "8 claims are of 448 blocks");
        claimed(101, 100, Vec::new()).breaks(PrefixClaimsAreHonest::default(), "101 of 100 blocks");
    }

    #[test]
    fn an_engine_that_was_killed_has_an_excuse_for_its_replicas() {
        let killed = |who| vec![Fault::EngineKill { who: Place::Engine(who) }];
        assert_eq!(claimed(90, 0, killed(2)).judged(PrefixClaimsAreHonest::default()), Ok(()));
        let lossy = || vec![Fault::Vanish { share: 0.1 }];
        let mut left = claimed(90, 0, lossy());
        left.plan.town.response_path = ResponsePath::Leave;
        assert_eq!(left.judged(PrefixClaimsAreHonest::default()), Ok(()));
        claimed(90, 0, lossy()).breaks(PrefixClaimsAreHonest::default(), "where engines hold 8");
        claimed(90, 0, killed(1)).breaks(PrefixClaimsAreHonest::default(), "where engines hold 8");
    }
}
