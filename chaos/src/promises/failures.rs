//! `no_actor_fails`.
//!
//! Must not know how parts are supervised. Where a plan ends a part, what hung on it may fail too, for as long as it takes to start again.

use std::time::Duration;

use murmuration::event::Event;

use super::{Broken, Promise, Scene, broken};
use crate::chronicle::{Entry, Fact, Witness};

/// For how long after a part was ended others of the same replica may fail with it.
const FALLOUT: Duration = Duration::from_secs(2);

/// See [`Promise::meaning`].
#[derive(Debug, Default)]
pub(super) struct NoActorFails;

// === impl NoActorFails ===

impl Promise for NoActorFails {
    fn name(&self) -> &'static str {
        "no_actor_fails"
    }

    fn meaning(&self) -> &'static str {
        "nothing panics, and no actor or task of a replica fails unless a plan ended one within 2 s"
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        match (&entry.fact, entry.by) {
            (Fact::Panicked(why), _) => broken!("a panic: {why}"),
            (Fact::Told(Event::PartGivenUp { part, attempts, why }), Witness::Replica(replica, _)) => {
                broken!("{part} of replica-{replica} failed {attempts} times in a row: {why}")
            }
            (Fact::Told(Event::ActorRestarted { actor, why }), Witness::Replica(replica, _))
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
    use crate::plan::{Fault, Part, Place};
    use crate::promises::testing::Tale;

    fn restarted() -> Event {
        Event::ActorRestarted { actor: "scheduler".into(), why: "it stopped".into() }
    }

    #[test]
    fn an_actor_may_fail_only_where_a_plan_ended_one() {
        let part = Part::Named("scheduler".into());
        let mut tale = Tale::with(vec![Fault::KillPart { who: Place::Replica(1), part }]);
        tale.at(5_000).world(Fact::Struck(0));
        tale.at(6_000).world(Fact::Lifted(0));
        tale.at(8_000).told(1, restarted());
        assert_eq!(tale.judged(NoActorFails), Ok(()));
        let (mut late, mut other) = (tale.entries.clone(), tale.entries.clone());
        tale.at(8_001).told(1, restarted());
        tale.breaks(NoActorFails, "scheduler of replica-1 failed: it stopped");
        std::mem::swap(&mut tale.entries, &mut late);
        tale.at(7_000).told(0, restarted());
        tale.breaks(NoActorFails, "scheduler of replica-0");
        std::mem::swap(&mut tale.entries, &mut other);
        assert_eq!(tale.judged(NoActorFails), Ok(()));
    }

    #[test]
    fn a_panic_is_never_legal() {
        let mut tale = Tale::calm();
        tale.world(Fact::Panicked("attempt to subtract with overflow".into()));
        tale.breaks(NoActorFails, "a panic: attempt to subtract with overflow");
    }
}
