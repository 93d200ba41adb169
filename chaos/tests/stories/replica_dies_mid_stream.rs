//! A replica is killed while answers stream through it. Whoever it held is cut, because replicas see answers here (`stay`); everybody else is
//! served, and whoever asks the dead one is answered by another.
#![allow(clippy::unwrap_used)]

use murmuration_chaos::chronicle::End;

use crate::told::{s, tell};

#[test]
fn only_those_that_the_dead_one_held_are_cut() {
    let plan = include_str!("../../plans/stories/replica-dies-mid-stream.yaml");
    tell("replica_dies_mid_stream::only_those_that_the_dead_one_held_are_cut", plan, |told| {
        let requests = told.requests(s(0.0, 7.0));
        let cut: Vec<_> = requests.iter().filter(|request| request.end == End::Cut).collect();
        assert!(!cut.is_empty(), "nothing streamed through the replica when it died; the story has no point");
        assert!(cut.iter().all(|request| request.sent_by == Some(1) && request.asked < s(3.0, 3.0).end), "{cut:?}");
        assert!(requests.iter().all(|request| matches!(request.end, End::Served | End::Cut)), "{requests:?}");
    });
}
