//! The simulated town: real replicas live, die and meet again in virtual time.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use murmuration_chaos::chronicle::{End, Entry, Fact, Phase, Witness};
use murmuration_chaos::plan::{Bars, Fault, Place, Plan, Strike, Town, Traffic};
use murmuration_chaos::sim;

/// A small town with these faults, each for a second and a half from the second second on.
fn plan(faults: Vec<Fault>) -> Plan {
    let strike = |fault| Strike { at: Duration::from_secs(1), lasting: Duration::from_millis(2_500), fault };
    Plan {
        name: "test".to_owned(),
        seed: 7,
        duration: Duration::from_secs(4),
        town: Town::default(),
        traffic: Traffic { rate: 20.0, answer_tokens: 10, ..Traffic::default() },
        faults: faults.into_iter().map(strike).collect(),
        bars: Bars::default(),
    }
}

fn chronicle(plan: &Plan) -> Vec<Entry> {
    let mut entries = Vec::new();
    sim::run(plan, &mut |entry| {
        entries.push(entry);
        true
    })
    .unwrap();
    entries
}

fn ends(entries: &[Entry]) -> Vec<End> {
    let end = |entry: &Entry| if let Fact::Done { end, .. } = &entry.fact { Some(*end) } else { None };
    entries.iter().filter_map(end).collect()
}

/// Members sizes that `replica` was seen with between two moments of the storm.
fn rosters(entries: &[Entry], replica: usize, from_ms: u64, to_ms: u64) -> Vec<usize> {
    let storm = entries.iter().find(|entry| entry.fact == Fact::Phase(Phase::Storm)).unwrap().at;
    let within = storm + Duration::from_millis(from_ms)..storm + Duration::from_millis(to_ms);
    let seen = entries.iter().filter(|entry| within.contains(&entry.at));
    let looked = seen.filter_map(|entry| match (&entry.fact, entry.by) {
        (Fact::Looked(look), Witness::Replica(number, _)) if number == replica => Some(look.members.len()),
        _ => None,
    });
    looked.collect()
}

#[test]
fn in_fair_weather_everybody_is_served_and_phases_come_in_order() {
    let entries = chronicle(&plan(Vec::new()));
    let phases = entries.iter().filter_map(|entry| match entry.fact {
        Fact::Phase(phase) => Some(phase),
        _ => None,
    });
    let expected = [Phase::Warming, Phase::Storm, Phase::Healing, Phase::Healed, Phase::Rest];
    assert_eq!(phases.collect::<Vec<_>>(), expected);
    assert!(entries.is_sorted_by_key(|entry| entry.at));
    let ends = ends(&entries);
    assert!(ends.len() > 150 && ends.iter().all(|end| *end == End::Served), "{ends:?}");
}

#[test]
fn a_killed_replica_is_missed_and_comes_back_as_a_new_life() {
    let entries = chronicle(&plan(vec![Fault::Kill { who: Place::Replica(1), same_life: false }]));
    let of = |life, fact: &Fact| entries.iter().any(|e| e.by == Witness::Replica(1, life) && e.fact == *fact);
    assert!(of(0, &Fact::Born) && of(0, &Fact::Gone) && of(1, &Fact::Born) && !of(1, &Fact::Gone));
    assert!(rosters(&entries, 0, 3_000, 3_500).iter().all(|others| *others == 1));
    assert!(rosters(&entries, 0, 6_000, 8_000).iter().all(|others| *others == 2));
}

#[test]
fn a_frozen_replica_is_missed_and_goes_on_in_the_same_life() {
    let entries = chronicle(&plan(vec![Fault::Freeze { who: Place::Replica(1) }]));
    assert!(entries.iter().all(|entry| entry.fact != Fact::Gone));
    assert_eq!(rosters(&entries, 1, 1_250, 3_250), Vec::<usize>::new());
    assert!(rosters(&entries, 0, 3_000, 3_500).iter().all(|others| *others == 1));
    assert!(rosters(&entries, 0, 6_000, 8_000).iter().all(|others| *others == 2));
}

#[test]
fn two_halves_that_cannot_talk_miss_each_other_and_serve_on() {
    let cut = Fault::Cut { from: Place::Replica(0), to: Place::Replicas, one_way: false };
    let entries = chronicle(&plan(vec![cut]));
    assert!(rosters(&entries, 0, 3_000, 3_500).iter().all(|others| *others == 0));
    assert!(rosters(&entries, 1, 3_000, 3_500).iter().all(|others| *others == 1));
    assert!(ends(&entries).iter().all(|end| *end == End::Served));
}

#[test]
fn whoever_has_seen_enough_ends_the_run() {
    let mut seen = 0;
    sim::run(&plan(Vec::new()), &mut |_| {
        seen += 1;
        seen < 100
    })
    .unwrap();
    assert_eq!(seen, 100);
}
