//! Nine of ten requests share one prefix at three times the usual rate; then a replica dies. The engine that holds the
//! prefix must not be overloaded: all engines take part.
#![allow(clippy::unwrap_used)]

use murmuration_simulation::history::End;

use crate::told::{s, tell};

#[test]
fn the_burst_is_spread_and_served() {
    let plan = include_str!("../../../plans/scenarios/hot-prefix-storm-meets-dead-peer.yaml");
    tell("hot_prefix_storm_meets_dead_peer::the_burst_is_spread_and_served", plan, |told| {
        let requests = told.requests(s(2.0, 6.0));
        let mut per_engine = std::collections::BTreeMap::new();
        requests.iter().filter_map(|request| request.to.clone()).for_each(|to| *per_engine.entry(to).or_insert(0) += 1);
        let most = per_engine.values().max().copied().unwrap_or_default();
        assert!(per_engine.len() == 6 && most * 2 < requests.len(), "{per_engine:?} of {}", requests.len());
        assert!(requests.iter().all(|request| request.end == End::Served), "{requests:?}");
    });
}
