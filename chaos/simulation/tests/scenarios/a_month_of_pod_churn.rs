//! Nearly four hundred endpoint names come and go for good, three at a time. What a replica keeps is as large at the
//! end as it was once the first ones were forgotten, and it still receives the facts of its peer.
#![allow(clippy::unwrap_used)]

use std::ops::Range;
use std::time::Duration;

use murmuration_simulation::history::{Fact, Snapshot};

use crate::told::{Told, s, tell};

/// The snapshots of replicas in this part of the storm.
fn snapshots_in(told: &Told, part: Range<Duration>) -> Vec<&Snapshot> {
    let snapshots = told.within(part).filter_map(|entry| match &entry.fact {
        Fact::SnapshotTaken(snapshot) => Some(&**snapshot),
        _ => None,
    });
    snapshots.collect()
}

/// The greatest value of `of` in these snapshots.
fn most(snapshots: &[&Snapshot], of: impl Fn(&Snapshot) -> u64) -> f64 {
    snapshots.iter().map(|snapshot| of(snapshot)).max().unwrap() as f64
}

#[test]
fn memory_at_the_end_is_as_large_as_before() {
    let plan = include_str!("../../../plans/scenarios/a-month-of-pod-churn.yaml");
    tell("a_month_of_pod_churn::memory_at_the_end_is_as_large_as_before", plan, |told| {
        let (before, after) = (snapshots_in(told, s(130.0, 146.0)), snapshots_in(told, s(168.0, 184.0)));
        let remembered = |snapshot: &Snapshot| snapshot.fleet.peers.iter().map(|peer| peer.endpoints as u64).sum();
        let grown = (most(&before, remembered), most(&after, remembered));
        assert!(grown.1 <= grown.0 * 1.1, "{grown:?} endpoints");
        assert!(
            most(&after, |snapshot| snapshot.fleet.peers.iter().map(|peer| u64::from(peer.in_flight.requests)).sum())
                > 0.0
        );
    });
}
