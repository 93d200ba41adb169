//! A deployment is rolled out while requests come. Requests that an engine had when it went may fail; nobody is sent to one that is gone for
//! longer than it takes to notice, and who came is used.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use murmuration_chaos::chronicle::End;

use crate::told::{s, tell};

#[test]
fn whoever_came_is_used_and_nobody_is_sent_to_who_went() {
    let plan = include_str!("../../plans/stories/pods-are-replaced-one-by-one.yaml");
    tell("pods_are_replaced_one_by_one::whoever_came_is_used_and_nobody_is_sent_to_who_went", plan, |told| {
        let used = |part| told.requests(part).into_iter().filter_map(|request| request.to).collect::<BTreeSet<_>>();
        let (before, after) = (used(s(0.0, 2.0)), used(s(6.5, 8.0)));
        assert!(before.len() == 4 && after.len() == 4, "{before:?} {after:?}");
        assert!(before.is_disjoint(&after), "{before:?} {after:?}");
        assert_eq!(used(s(11.2, 12.0)).difference(&after).count(), 0, "names stay where addresses change");
        assert!(told.requests(s(6.5, 7.5)).iter().all(|request| request.end == End::Served));
    });
}
