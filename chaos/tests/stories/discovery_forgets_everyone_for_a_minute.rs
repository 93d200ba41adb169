//! Discovery is the ground: when it says that there is nobody, nobody is asked, however well engines could be known from before. Clients are
//! told so with a stable code, and served when discovery remembers.
#![allow(clippy::unwrap_used)]

use murmuration_chaos::chronicle::End;

use crate::told::{s, tell};

#[test]
fn all_are_refused_meanwhile_and_served_afterwards() {
    let plan = include_str!("../../plans/stories/discovery-forgets-everyone-for-a-minute.yaml");
    tell("discovery_forgets_everyone_for_a_minute::all_are_refused_meanwhile_and_served_afterwards", plan, |told| {
        let meanwhile = told.requests(s(4.0, 61.0));
        assert!(meanwhile.len() > 200, "{}", meanwhile.len());
        assert!(meanwhile.iter().all(|request| request.refused && request.end == End::Refused));
        let before = told.requests(s(0.0, 1.5));
        assert!(!before.is_empty() && before.iter().all(|request| request.end == End::Served), "{before:?}");
        assert!(told.summary.figures.heal_s.is_some_and(|heal| heal <= 2.0));
    });
}
