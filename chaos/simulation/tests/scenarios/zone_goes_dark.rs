//! Half of all replicas and engines stop at once. Two seconds later every request to the other half is served.
#![allow(clippy::unwrap_used)]

use murmuration_simulation::history::End;

use crate::told::{s, tell};

#[test]
fn the_other_zone_serves_all_after_two_seconds() {
    let plan = include_str!("../../../plans/scenarios/zone-goes-dark.yaml");
    tell("zone_goes_dark::the_other_zone_serves_all_after_two_seconds", plan, |told| {
        let later = told.requests(s(4.0, 6.0));
        assert!(later.len() > 30, "{}", later.len());
        assert!(later.iter().all(|request| request.end == End::Served), "{later:?}");
        assert!(later.iter().all(|request| request.sent_by.is_some_and(|replica| replica % 2 == 0)), "{later:?}");
    });
}
