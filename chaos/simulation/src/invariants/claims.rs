//! `prefix_claims_are_honest`.
//!
//! Must not know the index. A prompt that waits for its engine counts as held from its dispatch on, so claims are
//! checked after the last request. A replica can't know what an engine lost in a restart, so only claims about engines
//! that ran through the whole run are checked. A replica that leaves the response path (`leave`) can't know that a
//! request never reached its engine; there claims are checked only if no request can have been lost on its way. All
//! claims are checked together, and may be too high by the stated error.

use super::{About, Broken, Invariant, Scene, broken, names};
use crate::history::{Entry, Fact, Phase};
use crate::plan::{Fault, ResponsePath};

/// Claims that are needed before they are checked.
const CLAIMS_MIN: u64 = 8;
/// The share by which all claims together may be too high.
const ERROR: f64 = 0.1;
/// Blocks by which a single claim may be too high: an engine keeps full blocks.
const ROUNDING: u64 = 1;

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct PrefixClaimsAreHonest {
    claims: u64,
    claimed: u64,
    held: u64,
}

// === impl PrefixClaimsAreHonest ===

impl Invariant for PrefixClaimsAreHonest {
    fn about(&self) -> About {
        About::safety(
            "prefix_claims_are_honest",
            "after the last request, engines hold the blocks that replicas believe them to hold, but for 10 % and for losses that replicas can't know of",
        )
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        let Fact::Twins(twins) = &entry.fact else { return Ok(()) };
        if scene.phase() != Phase::Quiesced {
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
            self.held += twin.held + ROUNDING;
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

/// Whether replicas can't know what happened to requests that they sent to the engine.
fn may_have_forgotten(engine: usize, scene: &Scene) -> bool {
    let cluster = &scene.plan().cluster;
    let leaves = cluster.response_path == ResponsePath::Leave;
    scene.feels(scene.now(), |fault| match fault {
        fault if fault.kills_engines(cluster).contains(&engine) => true,
        Fault::EndpointChurn { .. } => true,
        Fault::Cut { .. } | Fault::Loss { .. } | Fault::Delay { .. } | Fault::Freeze { .. } => leaves,
        Fault::Kill { .. } | Fault::Drain { .. } | Fault::Upgrade { .. } | Fault::Vanish { .. } => leaves,
        Fault::KillPart { .. } | Fault::ClockStep { .. } | Fault::PairKill { .. } => leaves,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Twin;
    use crate::invariants::testing::{HistoryBuilder, engine};
    use crate::plan::Place;

    fn claimed(blocks: u64, held: u64, faults: Vec<Fault>) -> HistoryBuilder {
        let struck = !faults.is_empty();
        let mut history = HistoryBuilder::with(faults);
        if struck {
            history.world(Fact::FaultBegan(0));
            history.world(Fact::FaultEnded(0));
        }
        history.phase(9_000, Phase::Quiesced);
        let twin = Twin { replica: 0, to: Some(engine(2)), prefill: Vec::new(), matched: (blocks, 100), held };
        history.at(10_000).world(Fact::Twins(vec![twin; 8]));
        history
    }

    #[test]
    fn claims_may_be_a_tenth_too_high_and_no_more() {
        assert_eq!(claimed(55, 49, Vec::new()).check(PrefixClaimsAreHonest::default()), Ok(()));
        claimed(56, 49, Vec::new()).breaks(PrefixClaimsAreHonest::default(), "8 claims are of 448 blocks");
        claimed(101, 100, Vec::new()).breaks(PrefixClaimsAreHonest::default(), "101 of 100 blocks");
    }

    #[test]
    fn claims_about_a_killed_engine_or_lost_requests_are_not_checked() {
        let killed = |who| vec![Fault::EngineKill { who: Place::Engine(who) }];
        assert_eq!(claimed(90, 0, killed(2)).check(PrefixClaimsAreHonest::default()), Ok(()));
        let lossy = || vec![Fault::Vanish { share: 0.1 }];
        let mut left = claimed(90, 0, lossy());
        left.plan.cluster.response_path = ResponsePath::Leave;
        assert_eq!(left.check(PrefixClaimsAreHonest::default()), Ok(()));
        claimed(90, 0, lossy()).breaks(PrefixClaimsAreHonest::default(), "where engines hold 8");
        claimed(90, 0, killed(1)).breaks(PrefixClaimsAreHonest::default(), "where engines hold 8");
    }
}
