//! Nine of ten requests have one prefix, and there are three times as many as ever; then a replica dies. Whoever holds the prefix must not be
//! buried under those who want it: all engines help.
#![allow(clippy::unwrap_used)]

use murmuration_chaos::chronicle::End;

use crate::told::{s, tell};

#[test]
fn the_crowd_is_spread_and_served() {
    let plan = include_str!("../../plans/stories/hot-prefix-storm-meets-dead-peer.yaml");
    tell("hot_prefix_storm_meets_dead_peer::the_crowd_is_spread_and_served", plan, |told| {
        let requests = told.requests(s(2.0, 6.0));
        let mut per_engine = std::collections::BTreeMap::new();
        requests.iter().filter_map(|request| request.to.clone()).for_each(|to| *per_engine.entry(to).or_insert(0) += 1);
        let most = per_engine.values().max().copied().unwrap_or_default();
        assert!(per_engine.len() == 6 && most * 2 < requests.len(), "{per_engine:?} of {}", requests.len());
        assert!(requests.iter().all(|request| request.end == End::Served), "{requests:?}");
    });
}
