//! Discovery is the only source of endpoints: while it announces none, no engine gets requests, even if replicas knew
//! engines before. Clients get a refusal with a stable code, and are served once discovery announces endpoints again.
#![allow(clippy::unwrap_used)]

use murmuration_simulation::history::End;

use crate::told::{s, tell};

#[test]
fn all_are_refused_meanwhile_and_served_afterwards() {
    let plan = include_str!("../../../plans/scenarios/discovery-forgets-everyone-for-a-minute.yaml");
    tell("discovery_forgets_everyone_for_a_minute::all_are_refused_meanwhile_and_served_afterwards", plan, |told| {
        let meanwhile = told.requests(s(4.0, 61.0));
        assert!(meanwhile.len() > 200, "{}", meanwhile.len());
        assert!(meanwhile.iter().all(|request| request.refused && request.end == End::Refused));
        let before = told.requests(s(0.0, 1.5));
        assert!(!before.is_empty() && before.iter().all(|request| request.end == End::Served), "{before:?}");
        assert!(told.summary.figures.heal_s.is_some_and(|heal| heal <= 2.0));
    });
}
