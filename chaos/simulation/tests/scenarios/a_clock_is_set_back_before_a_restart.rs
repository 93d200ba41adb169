//! A replica's clock is set back by a day while the replica is stopped. Its peers accept the new incarnation as soon as
//! any other.
#![allow(clippy::unwrap_used)]

use murmuration_simulation::history::{Fact, Source};

use crate::told::{s, tell};

#[test]
fn its_new_incarnation_is_accepted_at_once() {
    let plan = include_str!("../../../plans/scenarios/a-clock-is-set-back-before-a-restart.yaml");
    tell("a_clock_is_set_back_before_a_restart::its_new_incarnation_is_accepted_at_once", plan, |told| {
        let seen = |entry: &&murmuration_simulation::history::Entry| match (&entry.fact, entry.by) {
            (Fact::SnapshotTaken(snapshot), Source::Replica(0 | 1, _)) => {
                Some(snapshot.members.contains_key("replica-2"))
            }
            _ => None,
        };
        let snapshots: Vec<bool> = told.within(s(5.0, 7.0)).filter_map(|entry| seen(&entry)).collect();
        assert!(snapshots.len() > 10 && snapshots.iter().all(|seen| *seen), "{snapshots:?}");
        assert!(told.picks(s(5.0, 7.0), |replica| replica == 2) > 3);
    });
}
