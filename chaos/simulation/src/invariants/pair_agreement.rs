//! `pairs_agree`.
//!
//! Must not know prices. As for one endpoint (`decisions_agree`), the same request is put to all replicas, and none
//! reserves for it; here both endpoints must be the same, and those that may stand in for the one that prefills.

use super::agreement::Alike;
use super::{About, Broken, Invariant, RECOVERY, Scene, broken};
use crate::history::{Entry, Fact, Phase, Twin};

/// Requests that must have been put to all replicas before agreement under load is checked: of a few, chance decides.
const TWINS_MIN: usize = 32;

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct PairsAgree {
    under_load: Alike,
}

/// Whether all replicas give the same pair.
pub(crate) fn agree(twins: &[Twin]) -> bool {
    twins.windows(2).all(|pair| pair[0].to == pair[1].to && pair[0].prefill == pair[1].prefill)
}

// === impl PairsAgree ===

impl Invariant for PairsAgree {
    fn about(&self) -> About {
        About::recovery(
            "pairs_agree",
            "every replica gives the same pair to the same request: always from 2 s after the last request on, stand-ins included, except for restarted replicas with gossip alone, and unless an engine ended or was replaced while messages were late or a replica of the first release did not tell it; with peer streams, three of four answers are the most frequent one to their request under load after the storm",
        )
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        let Fact::Twins(twins) = &entry.fact else { return Ok(()) };
        let streams = scene.plan().cluster.peer_streams;
        // With gossip alone a restarted replica does not learn what it placed before its restart.
        let informed = |twin: &&Twin| streams || scene.life(twin.replica) == 0;
        let comparable: Vec<Twin> = twins.iter().filter(informed).cloned().collect();
        if scene.rests(RECOVERY) && !scene.losses_unclear() && !agree(&comparable) {
            let answers: Vec<String> = twins.iter().map(describe).collect();
            return broken!("replicas do not agree on a pair after the last request: {}", answers.join(", "));
        }
        if scene.phase() == Phase::Recovered && streams && twins.iter().any(|twin| !twin.prefill.is_empty()) {
            // Who stands in counts once all is at rest: under load, costs that are nearly equal change places from one
            // moment to the next.
            self.under_load.count(&twins.iter().map(|twin| (&twin.to, twin.prefill.first())).collect::<Vec<_>>());
        }
        Ok(())
    }

    fn end(&mut self, _scene: &Scene) -> Result<(), Broken> {
        self.under_load.check(TWINS_MIN, "pairs")
    }
}

fn describe(twin: &Twin) -> String {
    let prefill: Vec<&str> = twin.prefill.iter().map(|id| id.name()).collect();
    let to = twin.to.as_ref().map_or("none", |to| to.name());
    format!("replica-{} {to} with [{}]", twin.replica, prefill.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::{HistoryBuilder, engine};

    /// Both replicas choose engine 3, with these to prefill for it.
    fn twins(prefill: [&[usize]; 2]) -> Fact {
        let twin = |(replica, prefill): (usize, &[usize])| Twin {
            replica,
            to: Some(engine(3)),
            prefill: prefill.iter().map(|one| engine(*one)).collect(),
            matched: (1, 2),
            held: 1,
        };
        Fact::Twins(prefill.into_iter().enumerate().map(twin).collect())
    }

    #[test]
    fn after_the_last_request_all_pair_alike() {
        for (at, prefill, right) in [
            (12_000, [&[0, 1][..], &[0, 1]], true),
            (12_000, [&[0, 1], &[0, 2]], false),
            (12_000, [&[0], &[]], false),
            (11_999, [&[0], &[1]], true),
        ] {
            let mut history = HistoryBuilder::calm();
            history.phase(10_000, Phase::Quiesced).at(at).world(twins(prefill));
            assert_eq!(history.check(PairsAgree::default()).is_ok(), right, "{prefill:?}");
        }
    }

    #[test]
    fn under_load_most_pairs_are_alike() {
        let mut history = HistoryBuilder::calm();
        history.phase(10_000, Phase::Recovered);
        for prefill in [[&[0, 1][..], &[0, 2]], [&[0], &[1]], [&[1], &[1]], [&[0], &[]]].repeat(8) {
            history.world(twins(prefill));
        }
        assert_eq!(history.check(PairsAgree::default()), Ok(()));
        history.world(twins([&[0], &[2]]));
        history.breaks(PairsAgree::default(), "49 of 66 answers to 33 pairs");
    }
}
