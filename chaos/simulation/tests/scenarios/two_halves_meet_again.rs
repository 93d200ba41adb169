//! The network splits in two, and each half has replicas and engines. During the split each half serves with what it
//! can reach; two seconds after its end all replicas see each other again.
#![allow(clippy::unwrap_used)]

use murmuration_simulation::history::End;

use crate::told::{s, tell};

#[test]
fn both_halves_serve_and_see_each_other_again_within_two_seconds() {
    let plan = include_str!("../../../plans/scenarios/two-halves-meet-again.yaml");
    tell("two_halves_meet_again::both_halves_serve_and_see_each_other_again_within_two_seconds", plan, |told| {
        let in_the_split = || s(3.0, 5.0);
        assert!(told.picks(in_the_split(), |replica| replica % 2 == 0) > 5);
        assert!(told.picks(in_the_split(), |replica| replica % 2 == 1) > 5);
        let served = told.requests(in_the_split()).iter().filter(|request| request.end == End::Served).count();
        assert!(served > 20, "{served}");
        assert!(told.summary.figures.heal_s.is_some_and(|heal| heal <= 2.0), "{:?}", told.summary.figures);
    });
}
