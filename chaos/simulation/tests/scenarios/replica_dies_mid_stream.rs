//! A replica is killed while answers stream through it. Answers that it held are cut, because replicas see answers here
//! (`stay`). All other requests are served, and requests sent to the dead replica are answered by another.
#![allow(clippy::unwrap_used)]

use murmuration_simulation::history::End;

use crate::told::{s, tell};

#[test]
fn only_answers_of_the_dead_replica_are_cut() {
    let plan = include_str!("../../../plans/scenarios/replica-dies-mid-stream.yaml");
    tell("replica_dies_mid_stream::only_answers_of_the_dead_replica_are_cut", plan, |told| {
        let requests = told.requests(s(0.0, 7.0));
        let cut: Vec<_> = requests.iter().filter(|request| request.end == End::Cut).collect();
        assert!(!cut.is_empty(), "nothing streamed through the replica when it died; the scenario has no point");
        assert!(cut.iter().all(|request| request.sent_by == Some(1) && request.asked < s(3.0, 3.0).end), "{cut:?}");
        assert!(requests.iter().all(|request| matches!(request.end, End::Served | End::Cut)), "{requests:?}");
    });
}
