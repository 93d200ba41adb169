//! A replica's clock is set back by a day while it is dead. Its new life is believed as soon as any other's.
#![allow(clippy::unwrap_used)]

use murmuration_chaos::chronicle::{Fact, Witness};

use crate::told::{s, tell};

#[test]
fn its_new_life_is_believed_at_once() {
    let plan = include_str!("../../plans/stories/a-clock-is-set-back-before-a-restart.yaml");
    tell("a_clock_is_set_back_before_a_restart::its_new_life_is_believed_at_once", plan, |told| {
        let seen = |entry: &&murmuration_chaos::chronicle::Entry| match (&entry.fact, entry.by) {
            (Fact::Looked(look), Witness::Replica(0 | 1, _)) => Some(look.members.contains_key("replica-2")),
            _ => None,
        };
        let looks: Vec<bool> = told.within(s(5.0, 7.0)).filter_map(|entry| seen(&entry)).collect();
        assert!(looks.len() > 10 && looks.iter().all(|seen| *seen), "{looks:?}");
        assert!(told.picks(s(5.0, 7.0), |replica| replica == 2) > 3);
    });
}
