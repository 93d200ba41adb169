//! A replica comes back speaking a newer wire version. Nobody fails for it, it sees the others and is seen, and it takes its part of the work.
#![allow(clippy::unwrap_used)]

use murmuration_chaos::chronicle::End;

use crate::told::{s, tell};

#[test]
fn old_and_new_work_side_by_side() {
    let plan = include_str!("../../plans/stories/new-wire-version-joins-old-cluster.yaml");
    tell("new_wire_version_joins_old_cluster::old_and_new_work_side_by_side", plan, |told| {
        let requests = told.requests(s(0.0, 7.0));
        assert!(requests.iter().all(|request| request.end == End::Served), "{requests:?}");
        assert!(told.picks(s(4.0, 7.0), |replica| replica == 2) > 10);
        assert!(told.picks(s(4.0, 7.0), |replica| replica != 2) > 20);
    });
}
