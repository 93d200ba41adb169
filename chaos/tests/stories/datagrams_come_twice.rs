//! Gossip arrives again, also that of a replica which died meanwhile. Nobody counts it for alive, and nothing fails.
#![allow(clippy::unwrap_used)]

use murmuration_chaos::chronicle::{End, Fact, Witness};

use crate::told::{s, tell};

#[test]
fn what_the_dead_said_revives_nobody() {
    let plan = include_str!("../../plans/stories/datagrams-come-twice.yaml");
    tell("datagrams_come_twice::what_the_dead_said_revives_nobody", plan, |told| {
        for entry in told.within(s(6.0, 7.0)) {
            if let (Fact::Looked(look), Witness::Replica(1 | 2, _)) = (&entry.fact, entry.by) {
                assert!(!look.members.contains_key("replica-0"), "{:?} at {:?}", look.members, entry.at);
            }
        }
        assert!(told.requests(s(0.0, 10.0)).iter().all(|request| request.end == End::Served));
    });
}
