//! A replica stands still. The others go on without it and count its work no more; when it wakes it believes nothing that is long over, and is
//! one of them again.
#![allow(clippy::unwrap_used)]

use murmuration_chaos::chronicle::End;

use crate::told::{s, tell};

#[test]
fn it_is_missed_and_taken_back() {
    let plan = include_str!("../../plans/stories/frozen-replica-wakes.yaml");
    tell("frozen_replica_wakes::it_is_missed_and_taken_back", plan, |told| {
        let dead = s(4.5, 6.0);
        assert_eq!(told.picks(dead.clone(), |replica| replica == 0), 0, "it was frozen");
        assert!(told.requests(dead).iter().all(|request| request.end == End::Served));
        assert!(told.picks(s(7.0, 8.0), |replica| replica == 0) > 3);
    });
}
