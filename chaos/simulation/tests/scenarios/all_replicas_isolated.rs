//! No replica receives anything from another. Requests of one conversation arrive at different replicas, and still
//! reach the same engine, because an isolated replica places by the prompt alone.
#![allow(clippy::unwrap_used)]

use murmuration_simulation::history::End;

use crate::told::{s, tell};

#[test]
fn conversations_still_reach_one_engine() {
    let plan = include_str!("../../../plans/scenarios/all-replicas-isolated.yaml");
    tell("all_replicas_isolated::conversations_still_reach_one_engine", plan, |told| {
        let (before, isolated) = (told.cached(s(2.0, 4.0)), told.cached(s(6.0, 9.0)));
        assert!(before > 0.3 && isolated >= 0.8 * before, "cached {before:.3} before, {isolated:.3} isolated");
        assert!(told.requests(s(0.0, 10.0)).iter().all(|request| request.end == End::Served));
    });
}
