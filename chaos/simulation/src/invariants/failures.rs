//! `no_actor_fails`.
//!
//! Must not know how parts are supervised. Where a plan ends a part, parts that depend on it may fail too, until it has
//! restarted.

use std::time::Duration;

use murmuration::event::Event;

use super::{About, Broken, Invariant, Scene, broken};
use crate::history::{Entry, Fact, Source};

/// How long after a part was ended other parts of the same replica may fail.
const FALLOUT: Duration = Duration::from_secs(2);

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct NoActorFails;

// === impl NoActorFails ===

impl Invariant for NoActorFails {
    fn about(&self) -> About {
        About::safety(
            "no_actor_fails",
            "nothing panics, and no actor or task of a replica fails unless the plan ended one there within the last 2 s",
        )
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        match (&entry.fact, entry.by) {
            (Fact::Panicked(why), _) => broken!("a panic: {why}"),
            (Fact::Emitted(Event::PartGivenUp { part, attempts, why }), Source::Replica(replica, _)) => {
                broken!("{part} of replica-{replica} failed {attempts} times in a row: {why}")
            }
            (Fact::Emitted(Event::ActorRestarted { actor, why }), Source::Replica(replica, _))
                if !scene.part_killed(replica, FALLOUT) =>
            {
                broken!("{actor} of replica-{replica} failed: {why}")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::HistoryBuilder;
    use crate::plan::{Fault, Part, Place};

    fn restarted() -> Event {
        Event::ActorRestarted { actor: "scheduler".into(), why: "it stopped".into() }
    }

    #[test]
    fn an_actor_may_fail_only_after_the_plan_ended_one() {
        let part = Part::Named("scheduler".into());
        let mut history = HistoryBuilder::with(vec![Fault::KillPart { who: Place::Replica(1), part }]);
        history.at(5_000).world(Fact::FaultBegan(0));
        history.at(6_000).world(Fact::FaultEnded(0));
        history.at(8_000).told(1, restarted());
        assert_eq!(history.check(NoActorFails), Ok(()));
        let (mut late, mut other) = (history.entries.clone(), history.entries.clone());
        history.at(8_001).told(1, restarted());
        history.breaks(NoActorFails, "scheduler of replica-1 failed: it stopped");
        std::mem::swap(&mut history.entries, &mut late);
        history.at(7_000).told(0, restarted());
        history.breaks(NoActorFails, "scheduler of replica-0");
        std::mem::swap(&mut history.entries, &mut other);
        assert_eq!(history.check(NoActorFails), Ok(()));
    }

    #[test]
    fn a_panic_is_never_legal() {
        let mut history = HistoryBuilder::calm();
        history.world(Fact::Panicked("attempt to subtract with overflow".into()));
        history.breaks(NoActorFails, "a panic: attempt to subtract with overflow");
    }
}
