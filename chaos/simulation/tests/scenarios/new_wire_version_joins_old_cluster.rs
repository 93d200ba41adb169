//! A replica comes back with another wire version than its peers. No request fails, it sees the others and is seen, and
//! it serves its part of the requests.
#![allow(clippy::unwrap_used)]

use murmuration_simulation::history::End;

use crate::told::{s, tell};

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
