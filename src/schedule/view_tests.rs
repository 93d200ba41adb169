//! Tests of what a view shows, and what it leaves out.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use super::*;
use crate::fleet::{Endpoint, InFlight, LoadReport, Missing, Observation};
use crate::id::EndpointId;

fn fleet_of(reports: &[(&str, u32, u64)]) -> Fleet {
    let mut fleet = Fleet::default();
    for (i, &(name, waiting, at_ms)) in reports.iter().enumerate() {
        let id = EndpointId::new("default", name);
        let address = ([10, 0, 0, 1], 8000 + i as u16).into();
        fleet.upsert(Endpoint { id: id.clone(), address, labels: BTreeMap::new() }, &mut Vec::new());
        let report = LoadReport { waiting, awake: true, ..LoadReport::default() };
        fleet.observe(&id, Observation { report, age: Duration::ZERO }, Timestamp::from_millis(at_ms));
    }
    fleet
}

fn waiting_of(fleet: &Fleet, now_ms: u64) -> Vec<f64> {
    let request = InferenceRequest::default();
    View::new(fleet, &request, &[], Timestamp::from_millis(now_ms)).rows.iter().map(|row| row.waiting).collect()
}

#[test]
fn an_old_report_of_a_full_engine_decays_and_ends_behind_the_worst_known_one() {
    // `a` reports at 0 ms; `b` and `c` report just before each look.
    let look = |now: u64| waiting_of(&fleet_of(&[("a", 100, 0), ("b", 4, now), ("c", 4, now)]), now)[0];
    assert_eq!(look(300), 100.0);
    let (sooner, later) = (look(2_000), look(6_000));
    assert!(4.0 < later && later < sooner && sooner < 100.0, "{sooner} {later}");
    assert_eq!(look(20_000), 5.0, "one more than the worst known value");
}

#[test]
fn an_old_report_of_an_idle_engine_ends_at_the_pools_median() {
    let look = |now: u64| waiting_of(&fleet_of(&[("a", 0, 0), ("b", 4, now), ("c", 6, now), ("d", 8, now)]), now)[0];
    assert_eq!((look(300), look(20_000)), (0.0, 6.0));
    assert!(look(5_000) > 0.0 && look(5_000) < 6.0);
}

#[test]
fn an_engine_last_seen_full_is_never_the_best_because_its_report_expired() {
    for (others, full) in [([0, 0], 50), ([1, 30], 50), ([9, 9], 10), ([0, 9], 9)] {
        for (now, age_of_others) in [(10_001, 0), (60_000, 0), (12_000, 5_000), (60_000, 30_000), (5_000, 4_000)] {
            let at = now - age_of_others;
            let rows = waiting_of(&fleet_of(&[("a", full, 0), ("b", others[0], at), ("c", others[1], at)]), now);
            assert!(rows[0] >= rows[1] && rows[0] >= rows[2], "{rows:?} at {now} ms, others {age_of_others} ms old");
        }
    }
}

#[test]
fn a_gauge_that_a_page_lacks_is_typical_and_those_it_has_count() {
    let mut fleet = fleet_of(&[("a", 0, 0), ("b", 2, 0), ("c", 4, 0), ("d", 6, 0)]);
    let missing = Missing { kv_usage: true, running: true, waiting: false };
    let report = LoadReport { waiting: 50, missing, awake: true, ..LoadReport::default() };
    let id = |name| EndpointId::new("default", name);
    fleet.observe(&id("a"), Observation { report, age: Duration::ZERO }, Timestamp::from_millis(1));
    for (name, kv_usage) in [("b", 0.2), ("c", 0.4), ("d", 0.9)] {
        let report = LoadReport { waiting: 2, running: 3, kv_usage, awake: true, ..LoadReport::default() };
        fleet.observe(&id(name), Observation { report, age: Duration::ZERO }, Timestamp::from_millis(1));
    }
    let request = InferenceRequest::default();
    let view = View::new(&fleet, &request, &[], Timestamp::from_millis(2));
    let first = &view.rows[0];
    assert_eq!((first.waiting, first.running, first.kv_usage), (50.0, 3.0, 0.4));
}

#[test]
fn what_was_dispatched_since_the_report_counts_at_once() {
    let mut fleet = fleet_of(&[("a", 2, 0), ("b", 2, 0)]);
    let slot = fleet.slot(&EndpointId::new("default", "b")).unwrap();
    for _ in 0..3 {
        fleet.reserve(slot, InFlight { requests: 1, ..InFlight::default() }, Timestamp::from_millis(100));
    }
    assert_eq!(waiting_of(&fleet, 101), [2.0, 5.0]);
}

#[test]
fn a_subset_is_exact_to_the_port_and_an_empty_one_admits_none() {
    let fleet = fleet_of(&[("a", 0, 0), ("b", 0, 0)]);
    let mut request =
        InferenceRequest { subset: Some(vec!["10.0.0.1:8001".parse().unwrap()].into()), ..Default::default() };
    let view = View::new(&fleet, &request, &[], Timestamp::ZERO);
    assert_eq!(view.rows.iter().map(|row| row.endpoint.id.name()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(view.outside_subset, 1);
    request.subset = Some(Vec::new().into());
    assert!(View::new(&fleet, &request, &[], Timestamp::ZERO).rows.is_empty());
}

#[test]
fn sleeping_engines_are_left_out_and_unreachable_ones_only_while_another_answers() {
    let mut fleet = fleet_of(&[("a", 0, 0), ("b", 0, 0), ("c", 0, 0)]);
    let id = |name| EndpointId::new("default", name);
    let asleep = Observation { report: LoadReport::default(), age: Duration::ZERO };
    fleet.observe(&id("a"), asleep, Timestamp::from_millis(1));
    for _ in 0..2 {
        fleet.unreachable(&id("b"));
    }
    let request = InferenceRequest::default();
    let names = |fleet: &Fleet| -> Vec<String> {
        let view = View::new(fleet, &request, &[], Timestamp::from_millis(2));
        view.rows.iter().map(|row| row.endpoint.id.name().to_owned()).collect()
    };
    assert_eq!(names(&fleet), ["c"]);
    for _ in 0..2 {
        fleet.unreachable(&id("c"));
    }
    // No listener answers: a guess is better than a refusal, and Envoy's own retries decide.
    assert_eq!(names(&fleet), ["b", "c"]);
}
