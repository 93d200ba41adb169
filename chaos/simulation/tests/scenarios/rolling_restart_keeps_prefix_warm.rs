//! All replicas are restarted, one after the other. No request fails, and conversations find their prefixes where they
//! were: each restarted replica has learned from those that stayed.
#![allow(clippy::unwrap_used)]

use murmuration_simulation::history::End;

use crate::told::{calm, s, tell};

#[test]
fn no_request_fails_and_the_cache_stays_warm() {
    let plan = include_str!("../../../plans/scenarios/rolling-restart-keeps-prefix-warm.yaml");
    tell("rolling_restart_keeps_prefix_warm::no_request_fails_and_the_cache_stays_warm", plan, |told| {
        let requests = told.requests(s(5.0, 11.0));
        assert!(requests.iter().all(|request| request.end == End::Served), "{requests:?}");
        let (during, otherwise) = (told.cached(s(2.0, 12.0)), calm(plan).cached(s(2.0, 12.0)));
        assert!(
            otherwise > 0.3 && during >= 0.97 * otherwise,
            "cached {during:.3}, and {otherwise:.3} without restarts"
        );
    });
}
