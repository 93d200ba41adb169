//! `only_the_dead_cut_answers`.
//!
//! Must not know ext-proc. Where replicas leave once they have answered (`leave`), nobody's death cuts an answer; but that they leave must
//! still get through.

use std::collections::BTreeMap;
use std::time::Duration;

use super::answers::{hindered, unheard};
use super::{Broken, Promise, Scene, broken};
use crate::chronicle::{End, Entry, Fact};
use crate::plan::ResponsePath;

/// See [`Promise::meaning`].
#[derive(Debug, Default)]
pub(super) struct OnlyTheDeadCutAnswers {
    sent: BTreeMap<u64, (usize, Duration)>,
}

// === impl OnlyTheDeadCutAnswers ===

impl Promise for OnlyTheDeadCutAnswers {
    fn name(&self) -> &'static str {
        "only_the_dead_cut_answers"
    }

    fn meaning(&self) -> &'static str {
        "an answer is cut only if the replica that saw it died or could not be reached, and where replicas leave only if it could not be"
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
                    if scene.plan().town.response_path == ResponsePath::Leave && !unheard(replica, at, scene) =>
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
    use crate::promises::testing::Tale;

    const CUT: Fact = Fact::Done { request: 1, end: End::Cut, first_token: None, prompt: (0, 0) };

    fn tale(dead: bool) -> Tale {
        let mut tale = Tale::calm();
        tale.at(10_000).sent(1, 0, 2);
        if dead {
            tale.by(0, Fact::Gone);
        }
        tale.client(CUT);
        tale
    }

    #[test]
    fn the_dead_may_cut_and_the_living_may_not() {
        assert_eq!(tale(true).judged(OnlyTheDeadCutAnswers::default()), Ok(()));
        tale(false).breaks(OnlyTheDeadCutAnswers::default(), "though replica-0 lives");
    }

    #[test]
    fn who_has_left_can_cut_nothing() {
        let mut tale = tale(true);
        tale.plan.town.response_path = ResponsePath::Leave;
        tale.breaks(OnlyTheDeadCutAnswers::default(), "though no replica sees answers");
    }
}
