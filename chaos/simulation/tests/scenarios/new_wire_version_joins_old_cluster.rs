//! A replica comes back with another wire version than its peers. No request fails, it sees the others and is seen, and
//! it serves its part of the requests.
#![allow(clippy::unwrap_used)]

use murmuration_simulation::history::End;

use crate::told::{Told, s, tell};

#[test]
fn old_and_new_versions_work_together() {
    let plan = include_str!("../../../plans/scenarios/new-wire-version-joins-old-cluster.yaml");
    tell("new_wire_version_joins_old_cluster::old_and_new_versions_work_together", plan, |told| {
        let requests = told.requests(s(0.0, 7.0));
        assert!(requests.iter().all(|request| request.end == End::Served), "{requests:?}");
        assert!(told.picks(s(4.0, 7.0), |replica| replica == 2) > 10);
        assert!(told.picks(s(4.0, 7.0), |replica| replica != 2) > 20);
    });
}

const UPGRADED: &str = include_str!("../../../plans/scenarios/tier-is-upgraded-replica-by-replica.yaml");

/// No request fails, every replica serves, and all learn what the others placed: the checker compares their views.
fn all_work_together(told: &Told) {
    let requests = told.requests(s(0.0, 9.0));
    assert!(requests.iter().all(|request| request.end == End::Served), "{requests:?}");
    for one in 0..3 {
        assert!(told.picks(s(8.0, 9.0), |replica| replica == one) > 2, "{one}");
    }
}

#[test]
fn versions_three_and_four_share_a_tier() {
    tell("new_wire_version_joins_old_cluster::versions_three_and_four_share_a_tier", UPGRADED, all_work_together);
}

#[test]
fn versions_three_and_four_share_a_tier_by_gossip_alone() {
    let plan = UPGRADED.replace("response-path: leave", "response-path: leave, peer-streams: false");
    tell(
        "new_wire_version_joins_old_cluster::versions_three_and_four_share_a_tier_by_gossip_alone",
        &plan,
        all_work_together,
    );
}
