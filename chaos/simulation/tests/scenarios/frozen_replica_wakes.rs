//! A replica freezes. The others continue without it and stop counting its work. When it continues, it believes nothing
//! outdated, and rejoins the tier.
#![allow(clippy::unwrap_used)]

use murmuration_simulation::history::End;

use crate::told::{s, tell};

#[test]
fn it_is_lost_and_rejoins() {
    let plan = include_str!("../../../plans/scenarios/frozen-replica-wakes.yaml");
    tell("frozen_replica_wakes::it_is_lost_and_rejoins", plan, |told| {
        let dead = s(4.5, 6.0);
        assert_eq!(told.picks(dead.clone(), |replica| replica == 0), 0, "it was frozen");
        assert!(told.requests(dead).iter().all(|request| request.end == End::Served));
        assert!(told.picks(s(7.0, 8.0), |replica| replica == 0) > 3);
    });
}
