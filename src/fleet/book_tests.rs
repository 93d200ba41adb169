//! Tests of the fleet.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use super::*;
use crate::fleet::Trust;

fn endpoint(name: &str, port: u16) -> Endpoint {
    Endpoint { id: EndpointId::new("default", name), address: ([127, 0, 0, 1], port).into(), labels: BTreeMap::new() }
}

fn observation(waiting: u32, age_ms: u64) -> Observation {
    let report = LoadReport { waiting, awake: true, ..LoadReport::default() };
    Observation { report, age: Duration::from_millis(age_ms) }
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn share(prefill_tokens: u64, decode_tokens: u64) -> InFlight {
    InFlight { requests: 1, prefills: 1, prefill_tokens, decode_tokens, ..InFlight::default() }
}

#[test]
fn endpoints_are_iterated_by_name_whatever_order_they_came_in() {
    let mut fleet = Fleet::default();
    for (name, port) in [("c", 3), ("a", 1), ("b", 2)] {
        fleet.upsert(endpoint(name, port), &mut Vec::new());
    }
    let names: Vec<_> = fleet.iter().map(|(_, entry)| entry.endpoint.id.name().to_owned()).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[test]
fn a_slot_is_reused_and_old_news_of_its_former_tenant_is_ignored() {
    let (mut fleet, mut events) = (Fleet::default(), Vec::new());
    fleet.upsert(endpoint("a", 1), &mut events);
    let slot = fleet.slot(&EndpointId::new("default", "a")).unwrap();
    let tenancy = fleet.reserve(slot, share(100, 50), at(0)).unwrap();
    fleet.remove(&EndpointId::new("default", "a"), &mut events);
    fleet.upsert(endpoint("b", 2), &mut events);
    assert_eq!(fleet.slot(&EndpointId::new("default", "b")), Some(slot));
    fleet.reserve(slot, share(7, 3), at(1)).unwrap();

    let mut rest = share(100, 50);
    fleet.release(tenancy, rest.take_prompt());
    assert_eq!(fleet.get(slot).unwrap().in_flight.prefills, 1);
    fleet.release(tenancy, rest);
    assert_eq!(fleet.get(slot).unwrap().in_flight, share(7, 3));
    assert!(fleet.tenant_of(tenancy).is_none());
}

#[test]
fn an_endpoint_that_moves_to_another_address_is_a_new_engine() {
    let (mut fleet, mut events) = (Fleet::default(), Vec::new());
    fleet.upsert(endpoint("a", 1), &mut events);
    fleet.observe(&EndpointId::new("default", "a"), observation(5, 0), at(10));
    let forgotten = fleet.upsert(endpoint("a", 2), &mut events);
    assert!(forgotten.is_some());
    let (_, entry) = fleet.iter().next().unwrap();
    assert!(entry.report().is_none());
    assert!(fleet.at(([127, 0, 0, 1], 1).into()).is_none());
    assert!(fleet.at(([127, 0, 0, 1], 2).into()).is_some());
}

#[test]
fn a_report_covers_what_was_dispatched_before_it_and_nothing_later() {
    let (mut fleet, id) = (Fleet::default(), EndpointId::new("default", "a"));
    fleet.upsert(endpoint("a", 1), &mut Vec::new());
    let slot = fleet.slot(&id).unwrap();
    fleet.reserve(slot, share(1, 1), at(100));
    fleet.reserve(slot, share(1, 1), at(190));
    // Handed over at 210 ms after a scrape of 10 ms: measured at 200 ms, so 190 ms is within the engine's next step.
    fleet.observe(&id, observation(0, 10), at(210));
    assert_eq!(fleet.get(slot).unwrap().unseen(), 1);
    fleet.observe(&id, observation(0, 0), at(211));
    assert_eq!(fleet.get(slot).unwrap().unseen(), 0);
}

#[test]
fn an_older_report_never_replaces_a_younger_one() {
    let (mut fleet, id) = (Fleet::default(), EndpointId::new("default", "a"));
    fleet.upsert(endpoint("a", 1), &mut Vec::new());
    assert!(fleet.observe(&id, observation(1, 0), at(100)).is_some());
    assert!(fleet.observe(&id, observation(9, 50), at(120)).is_none());
    assert_eq!(fleet.iter().next().unwrap().1.report().unwrap().waiting, 1);
}

#[test]
fn each_change_of_trust_causes_one_event() {
    let (mut fleet, id) = (Fleet::default(), EndpointId::new("default", "a"));
    fleet.upsert(endpoint("a", 1), &mut Vec::new());
    fleet.observe(&id, observation(0, 0), at(0));
    let mut events_at = |now: u64| {
        let mut events = Vec::new();
        fleet.report_trust(at(now), &mut events);
        events
    };
    let changed = |from, to| vec![Event::TrustChanged { endpoint: id.clone(), from, to }];
    assert_eq!(events_at(1), changed(Trust::Fallback, Trust::Exact));
    assert_eq!(events_at(300), []);
    assert_eq!(events_at(301), changed(Trust::Exact, Trust::Degraded));
    assert_eq!(events_at(10_001), changed(Trust::Degraded, Trust::Fallback));
}

#[test]
fn trust_follows_the_interval_that_the_fleet_was_made_for() {
    let (mut fleet, id) =
        (Fleet::new(TrustAges::of_interval(Duration::from_secs(15))), EndpointId::new("default", "a"));
    fleet.upsert(endpoint("a", 1), &mut Vec::new());
    let slot = fleet.observe(&id, observation(0, 0), at(0)).unwrap();
    let trust = |millis| fleet.get(slot).unwrap().trust(at(millis));
    assert_eq!([trust(14_999), trust(30_000)], [Trust::Exact; 2], "no FALLBACK between two scrapes");
    assert_eq!([trust(31_000), trust(90_001)], [Trust::Degraded, Trust::Fallback]);
}

#[test]
fn two_failed_connects_make_an_endpoint_unreachable_and_one_report_makes_it_reachable() {
    let (mut fleet, id) = (Fleet::default(), EndpointId::new("default", "a"));
    fleet.upsert(endpoint("a", 1), &mut Vec::new());
    fleet.unreachable(&id);
    assert!(fleet.iter().next().unwrap().1.is_reachable());
    fleet.unreachable(&id);
    assert!(!fleet.iter().next().unwrap().1.is_reachable());
    fleet.observe(&id, observation(0, 0), at(1));
    assert!(fleet.iter().next().unwrap().1.is_reachable());
}

#[test]
fn an_old_report_that_arrives_late_does_not_make_a_lost_endpoint_reachable() {
    let (mut fleet, id) = (Fleet::default(), EndpointId::new("default", "a"));
    fleet.upsert(endpoint("a", 1), &mut Vec::new());
    let slot = fleet.observe(&id, observation(1, 0), at(100)).unwrap();
    fleet.lost(slot);
    assert_eq!(fleet.observe(&id, observation(7, 80), at(150)), None);
    assert!(!fleet.get(slot).unwrap().is_reachable());
}

#[test]
fn endpoints_beyond_the_maximum_are_refused_with_an_event() {
    let (mut fleet, mut events) = (Fleet::default(), Vec::new());
    for i in 0..=ENDPOINTS_MAX {
        fleet.upsert(endpoint(&format!("e{i}"), i as u16), &mut events);
    }
    assert_eq!(fleet.len(), ENDPOINTS_MAX);
    assert!(matches!(events.last(), Some(Event::EndpointRefused { .. })));
}
