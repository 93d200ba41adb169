//! A scheduler ends while requests wait for it. Its replica serves again within a second, and nobody else's request fails.
#![allow(clippy::unwrap_used)]

use murmuration::event::Event;
use murmuration_chaos::chronicle::{End, Fact, Witness};

use crate::told::{s, tell};

#[test]
fn its_replica_serves_again_within_a_second() {
    let plan = include_str!("../../plans/stories/a-scheduler-fails-in-the-rush.yaml");
    tell("a_scheduler_fails_in_the_rush::its_replica_serves_again_within_a_second", plan, |told| {
        let restarted = told.within(s(3.0, 4.0)).any(|entry| {
            let event = matches!(&entry.fact, Fact::Told(Event::ActorRestarted { actor, .. }) if actor == "scheduler");
            event && matches!(entry.by, Witness::Replica(1, _))
        });
        assert!(restarted, "nobody told that the scheduler started again");
        assert!(told.picks(s(3.5, 4.0), |replica| replica == 1) > 3, "it does not serve");
        let failed = told.requests(s(0.0, 7.0)).iter().filter(|request| request.end != End::Served).count();
        assert_eq!(failed, 0);
    });
}
