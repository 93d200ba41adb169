//! `decisions_agree`.
//!
//! Must not know how a replica decides: the same request is put to all of them, and none reserves for it. With gossip
//! alone, a restarted replica may know fewer placements than the others: after the last request its answers are not
//! compared, and under load no answers are.

use super::{About, Broken, Invariant, RECOVERY, Scene, broken};
use crate::history::{Entry, Fact, Phase, Twin};

/// Requests that must have been put to all replicas before agreement under load is checked.
const TWINS_MIN: usize = 4;

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct DecisionsAgree {
    put: usize,
    agreed: usize,
}

/// Whether all replicas give the same answer.
pub(crate) fn agree(twins: &[Twin]) -> bool {
    twins.windows(2).all(|pair| pair[0].to == pair[1].to)
}

// === impl DecisionsAgree ===

impl Invariant for DecisionsAgree {
    fn about(&self) -> About {
        About::recovery(
            "decisions_agree",
            "every replica gives the same answer to the same request: always from 2 s after the last request on, except for restarted replicas with gossip alone; with peer streams, to at least half of them under load after the storm",
        )
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        let Fact::Twins(twins) = &entry.fact else { return Ok(()) };
        // With gossip alone a restarted replica does not learn what it placed before its restart.
        let informed = |twin: &&Twin| scene.plan().cluster.peer_streams || scene.life(twin.replica) == 0;
        let comparable: Vec<Twin> = twins.iter().filter(informed).cloned().collect();
        if scene.rests(RECOVERY) && !agree(&comparable) {
            let answers: Vec<String> = twins.iter().map(describe).collect();
            return broken!("replicas do not agree after the last request: {}", answers.join(", "));
        }
        // With gossip alone a new replica gets no earlier placements, and placements arrive later.
        if scene.phase() == Phase::Recovered && scene.plan().cluster.peer_streams {
            self.put += 1;
            self.agreed += usize::from(agree(twins));
        }
        Ok(())
    }

    fn end(&mut self, _scene: &Scene) -> Result<(), Broken> {
        let Self { put, agreed } = *self;
        match put >= TWINS_MIN && agreed * 2 < put {
            true => broken!("after the storm replicas agreed on {agreed} of {put} requests"),
            false => Ok(()),
        }
    }
}

fn describe(twin: &Twin) -> String {
    let to = twin.to.as_ref().map_or("none", |to| to.name());
    format!("replica-{} {to} {}/{}", twin.replica, twin.matched.0, twin.matched.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::{HistoryBuilder, engine};

    fn twins(to: [usize; 2]) -> Fact {
        let twin = |(replica, to): (usize, usize)| Twin {
            replica,
            to: Some(engine(to)),
            prefill: Vec::new(),
            matched: (1, 2),
            held: 1,
        };
        Fact::Twins(to.into_iter().enumerate().map(twin).collect())
    }

    #[test]
    fn after_the_last_request_all_answer_alike() {
        for (at, right) in [(11_999, true), (12_000, false)] {
            let mut history = HistoryBuilder::calm();
            history.phase(10_000, Phase::Quiesced).at(at).world(twins([1, 2]));
            assert_eq!(history.check(DecisionsAgree::default()).is_ok(), right);
        }
    }

    #[test]
    fn with_gossip_alone_a_restarted_replica_may_know_less() {
        for (peer_streams, right) in [(false, true), (true, false)] {
            let mut history = HistoryBuilder::calm();
            history.plan.cluster.peer_streams = peer_streams;
            history.started_again(1);
            history.phase(10_000, Phase::Quiesced).at(12_000);
            history.world(twins([1, 2]));
            assert_eq!(history.check(DecisionsAgree::default()).is_ok(), right);
        }
    }

    #[test]
    fn under_load_most_answer_alike() {
        let mut history = HistoryBuilder::calm();
        history.phase(10_000, Phase::Recovered);
        [[1, 1], [1, 2], [2, 2], [0, 1]].into_iter().for_each(|to| history.world(twins(to)));
        assert_eq!(history.check(DecisionsAgree::default()), Ok(()));
        history.world(twins([0, 2]));
        history.breaks(DecisionsAgree::default(), "agreed on 2 of 5");
    }
}
