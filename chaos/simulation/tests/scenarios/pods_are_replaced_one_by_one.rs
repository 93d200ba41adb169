//! A deployment is rolled out under load. Requests that an engine held when it left may fail. No request goes to an
//! engine that left longer ago than replicas take to notice, and new engines are used.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use murmuration_simulation::history::End;

use crate::told::{s, tell};

#[test]
fn new_engines_are_used_and_old_ones_are_not() {
    let plan = include_str!("../../../plans/scenarios/pods-are-replaced-one-by-one.yaml");
    tell("pods_are_replaced_one_by_one::new_engines_are_used_and_old_ones_are_not", plan, |told| {
        let used = |part| told.requests(part).into_iter().filter_map(|request| request.to).collect::<BTreeSet<_>>();
        let (before, after) = (used(s(0.0, 2.0)), used(s(6.5, 8.0)));
        assert!(before.len() == 4 && after.len() == 4, "{before:?} {after:?}");
        assert!(before.is_disjoint(&after), "{before:?} {after:?}");
        assert_eq!(used(s(11.2, 12.0)).difference(&after).count(), 0, "names stay when addresses change");
        assert!(told.requests(s(6.5, 7.5)).iter().all(|request| request.end == End::Served));
    });
}
