//! Nearly four hundred names come and go for ever, three at a time. What a replica keeps is as large at the end as it was once the first were forgotten,
//! and it still hears its peer.
#![allow(clippy::unwrap_used)]

use std::ops::Range;
use std::time::Duration;

use murmuration_chaos::chronicle::{Fact, Look};

use crate::told::{Told, s, tell};

/// Looks at replicas in this part of the storm.
fn looks(told: &Told, part: Range<Duration>) -> Vec<&Look> {
    let looked = told.within(part).filter_map(|entry| match &entry.fact {
        Fact::Looked(look) => Some(&**look),
        _ => None,
    });
    looked.collect()
}

/// The most of what `of` finds in these looks.
fn most(looks: &[&Look], of: impl Fn(&Look) -> u64) -> f64 {
    looks.iter().map(|look| of(look)).max().unwrap() as f64
}

#[test]
fn memory_at_its_end_is_what_it_was_before() {
    let plan = include_str!("../../plans/stories/a-month-of-pod-churn.yaml");
    tell("a_month_of_pod_churn::memory_at_its_end_is_what_it_was_before", plan, |told| {
        let (before, after) = (looks(told, s(130.0, 146.0)), looks(told, s(168.0, 184.0)));
        let remembered = |look: &Look| look.fleet.peers.iter().map(|peer| peer.endpoints as u64).sum();
        let grown = (most(&before, remembered), most(&after, remembered));
        assert!(grown.1 <= grown.0 * 1.1, "{grown:?} endpoints");
        assert!(
            most(&after, |look| look.fleet.peers.iter().map(|peer| u64::from(peer.in_flight.requests)).sum()) > 0.0
        );
    });
}
