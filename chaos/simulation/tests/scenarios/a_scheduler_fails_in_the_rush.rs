//! A scheduler is ended while requests wait for it. Its replica serves again within a second, and no request fails.
#![allow(clippy::unwrap_used)]

use murmuration::event::Event;
use murmuration_simulation::history::{End, Fact, Source};

use crate::told::{s, tell};

#[test]
fn its_replica_serves_again_within_a_second() {
    let plan = include_str!("../../../plans/scenarios/a-scheduler-fails-in-the-rush.yaml");
    tell("a_scheduler_fails_in_the_rush::its_replica_serves_again_within_a_second", plan, |told| {
        let restarted = told.within(s(3.0, 4.0)).any(|entry| {
            let event =
                matches!(&entry.fact, Fact::Emitted(Event::ActorRestarted { actor, .. }) if actor == "scheduler");
            event && matches!(entry.by, Source::Replica(1, _))
        });
        assert!(restarted, "no event reports that the scheduler restarted");
        assert!(told.picks(s(3.5, 4.0), |replica| replica == 1) > 3, "the replica does not serve");
        let failed = told.requests(s(0.0, 7.0)).iter().filter(|request| request.end != End::Served).count();
        assert_eq!(failed, 0);
    });
}
