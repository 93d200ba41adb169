//! Gossip datagrams arrive a second time, including those of a replica that died meanwhile. No replica counts it as
//! live, and no request fails.
#![allow(clippy::unwrap_used)]

use murmuration_simulation::history::{End, Fact, Source};

use crate::told::{s, tell};

#[test]
fn late_datagrams_revive_no_dead_replica() {
    let plan = include_str!("../../../plans/scenarios/datagrams-come-twice.yaml");
    tell("datagrams_come_twice::late_datagrams_revive_no_dead_replica", plan, |told| {
        for entry in told.within(s(6.0, 7.0)) {
            if let (Fact::SnapshotTaken(snapshot), Source::Replica(1 | 2, _)) = (&entry.fact, entry.by) {
                assert!(!snapshot.members.contains_key("replica-0"), "{:?} at {:?}", snapshot.members, entry.at);
            }
        }
        assert!(told.requests(s(0.0, 10.0)).iter().all(|request| request.end == End::Served));
    });
}
