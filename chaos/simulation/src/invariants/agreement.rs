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
    under_load: Alike,
}

/// How alike the answers to the same requests are. That all replicas give one answer is the rarer the more replicas
/// there are, so each answer counts: it is alike if it is the most frequent one.
#[derive(Debug, Default)]
pub(super) struct Alike {
    questions: usize,
    answers: usize,
    alike: usize,
}

/// Whether all replicas give the same answer.
pub(crate) fn agree(twins: &[Twin]) -> bool {
    twins.windows(2).all(|pair| pair[0].to == pair[1].to)
}

// === impl Alike ===

impl Alike {
    /// Counts the answers of all replicas to one request.
    pub(super) fn count<A: PartialEq>(&mut self, answers: &[A]) {
        let as_often = |one: &A| answers.iter().filter(|other| *other == one).count();
        self.questions += 1;
        self.answers += answers.len();
        self.alike += answers.iter().map(as_often).max().unwrap_or_default();
    }

    /// Three of four answers must be alike: for two replicas, the same answer to half of the requests. Fewer than
    /// `least` requests are not judged.
    pub(super) fn check(&self, least: usize, what: &str) -> Result<(), Broken> {
        let Self { questions, answers, alike } = *self;
        match questions >= least && alike * 4 < answers * 3 {
            true => {
                broken!("after the storm {alike} of {answers} answers to {questions} {what} are the most frequent ones")
            }
            false => Ok(()),
        }
    }
}

// === impl DecisionsAgree ===

impl Invariant for DecisionsAgree {
    fn about(&self) -> About {
        About::recovery(
            "decisions_agree",
            "every replica gives the same answer to the same request: always from 2 s after the last request on, except for restarted replicas with gossip alone, and unless an engine ended or was replaced while messages were late or a replica of the first release did not tell it; with peer streams, three of four answers are the most frequent one to their request under load after the storm",
        )
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        let Fact::Twins(twins) = &entry.fact else { return Ok(()) };
        // With gossip alone a restarted replica does not learn what it placed before its restart.
        let informed = |twin: &&Twin| scene.plan().cluster.peer_streams || scene.life(twin.replica) == 0;
        let comparable: Vec<Twin> = twins.iter().filter(informed).cloned().collect();
        if scene.rests(RECOVERY) && !scene.losses_unclear() && !agree(&comparable) {
            let answers: Vec<String> = twins.iter().map(describe).collect();
            return broken!("replicas do not agree after the last request: {}", answers.join(", "));
        }
        // With gossip alone a new replica gets no earlier placements, and placements arrive later.
        if scene.phase() == Phase::Recovered && scene.plan().cluster.peer_streams {
            self.under_load.count(&twins.iter().map(|twin| &twin.to).collect::<Vec<_>>());
        }
        Ok(())
    }

    fn end(&mut self, _scene: &Scene) -> Result<(), Broken> {
        self.under_load.check(TWINS_MIN, "requests")
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
    use crate::plan::{Fault, Place};

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
    fn what_an_engine_held_that_ended_may_be_unclear_while_a_replica_is_frozen() {
        let kill = Fault::EngineKill { who: Place::Engine(0) };
        let freeze = Fault::Freeze { who: Place::Replica(0) };
        for (faults, right) in [(vec![kill.clone()], false), (vec![freeze.clone()], false), (vec![kill, freeze], true)]
        {
            let count = faults.len();
            let mut history = HistoryBuilder::with(faults);
            (0..count).for_each(|index| history.world(Fact::FaultBegan(index)));
            (0..count).for_each(|index| history.world(Fact::FaultEnded(index)));
            history.phase(10_000, Phase::Quiesced).at(12_000).world(twins([1, 2]));
            assert_eq!(history.check(DecisionsAgree::default()).is_ok(), right);
        }
    }

    #[test]
    fn of_many_replicas_a_few_may_differ() {
        let mut alike = Alike::default();
        alike.count(&[1, 1, 2, 1, 1, 1, 3, 1]);
        assert_eq!(alike.check(1, "requests"), Ok(()), "6 of 8");
        alike.count(&[1, 2, 1, 2, 1, 2, 1, 1]);
        assert!(alike.check(1, "requests").is_err(), "11 of 16");
        assert_eq!(alike.check(3, "requests"), Ok(()), "too few");
    }

    #[test]
    fn under_load_most_answer_alike() {
        let mut history = HistoryBuilder::calm();
        history.phase(10_000, Phase::Recovered);
        [[1, 1], [1, 2], [2, 2], [0, 1]].into_iter().for_each(|to| history.world(twins(to)));
        assert_eq!(history.check(DecisionsAgree::default()), Ok(()));
        history.world(twins([0, 2]));
        history.breaks(DecisionsAgree::default(), "7 of 10 answers to 5 requests");
    }
}
