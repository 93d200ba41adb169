//! `only_the_dead_cut_answers`.
//!
//! Must not know ext-proc. Replicas that leave once they have answered (`leave`) cut no answer when they die, but the
//! message that they leave must still get through.

use std::collections::BTreeMap;
use std::time::Duration;

use super::answers::{hindered, unheard};
use super::{About, Broken, Invariant, Scene, broken};
use crate::history::{End, Entry, Fact};
use crate::plan::ResponsePath;

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct OnlyTheDeadCutAnswers {
    sent: BTreeMap<u64, (usize, Duration)>,
}

// === impl OnlyTheDeadCutAnswers ===

impl Invariant for OnlyTheDeadCutAnswers {
    fn about(&self) -> About {
        About::safety(
            "only_the_dead_cut_answers",
            "an answer is cut only if the replica that saw it died or could not be reached; where replicas leave the response path, only if it could not be reached",
        )
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        match &entry.fact {
            Fact::Sent { request, replica, .. } => {
                self.sent.insert(*request, (*replica, entry.at));
                Ok(())
            }
            Fact::Done { request, end, .. } => match self.sent.remove(request) {
                _ if *end != End::Cut => Ok(()),
                Some((replica, at))
                    if scene.plan().cluster.response_path == ResponsePath::Leave && !unheard(replica, at, scene) =>
                {
                    broken!("the answer to request {request} was cut, though no replica sees answers")
                }
                Some((replica, at)) if !hindered(replica, at, scene) => {
                    broken!(
                        "the answer to request {request} was cut, though replica-{replica} lives and can be reached"
                    )
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::HistoryBuilder;

    const CUT: Fact = Fact::Done { request: 1, end: End::Cut, first_token: None, prompt: (0, 0) };

    fn history(dead: bool) -> HistoryBuilder {
        let mut history = HistoryBuilder::calm();
        history.at(10_000).sent(1, 0, 2);
        if dead {
            history.by(0, Fact::Stopped);
        }
        history.client(CUT);
        history
    }

    #[test]
    fn the_dead_may_cut_and_the_living_may_not() {
        assert_eq!(history(true).check(OnlyTheDeadCutAnswers::default()), Ok(()));
        history(false).breaks(OnlyTheDeadCutAnswers::default(), "though replica-0 lives");
    }

    #[test]
    fn a_replica_that_has_left_cuts_no_answer() {
        let mut history = history(true);
        history.plan.cluster.response_path = ResponsePath::Leave;
        history.breaks(OnlyTheDeadCutAnswers::default(), "though no replica sees answers");
    }
}
