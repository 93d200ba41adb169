//! The simulated cluster: real replicas stop, restart and reconnect in virtual time.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use murmuration_simulation::cluster;
use murmuration_simulation::history::{End, Entry, Fact, Phase, Source};
use murmuration_simulation::plan::{Bars, ClusterSpec, Fault, Place, Plan, ScheduledFault, Traffic};

/// A small cluster with these faults, each from 1 s on for 2.5 s.
fn plan(faults: Vec<Fault>) -> Plan {
    let strike = |fault| ScheduledFault { at: Duration::from_secs(1), lasting: Duration::from_millis(2_500), fault };
    Plan {
        name: "test".to_owned(),
        seed: 7,
        duration: Duration::from_secs(4),
        cluster: ClusterSpec::default(),
        traffic: Traffic { rate: 20.0, answer_tokens: 10, ..Traffic::default() },
        faults: faults.into_iter().map(strike).collect(),
        bars: Bars::default(),
    }
}

fn history(plan: &Plan) -> Vec<Entry> {
    let mut entries = Vec::new();
    cluster::run(plan, murmuration_entropy::seed, &mut |entry| {
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

/// The numbers of members in the snapshots of `replica` between two moments of the storm.
fn member_counts(entries: &[Entry], replica: usize, from_ms: u64, to_ms: u64) -> Vec<usize> {
    let storm = entries.iter().find(|entry| entry.fact == Fact::Phase(Phase::Storm)).unwrap().at;
    let within = storm + Duration::from_millis(from_ms)..storm + Duration::from_millis(to_ms);
    let seen = entries.iter().filter(|entry| within.contains(&entry.at));
    let counts = seen.filter_map(|entry| match (&entry.fact, entry.by) {
        (Fact::SnapshotTaken(snapshot), Source::Replica(number, _)) if number == replica => {
            Some(snapshot.members.len())
        }
        _ => None,
    });
    counts.collect()
}

#[test]
fn without_faults_every_request_is_served_and_phases_come_in_order() {
    let entries = history(&plan(Vec::new()));
    let phases = entries.iter().filter_map(|entry| match entry.fact {
        Fact::Phase(phase) => Some(phase),
        _ => None,
    });
    let expected = [Phase::WarmUp, Phase::Storm, Phase::Recovery, Phase::Recovered, Phase::Quiesced];
    assert_eq!(phases.collect::<Vec<_>>(), expected);
    assert!(entries.is_sorted_by_key(|entry| entry.at));
    let ends = ends(&entries);
    assert!(ends.len() > 150 && ends.iter().all(|end| *end == End::Served), "{ends:?}");
}

#[test]
fn a_killed_replica_is_lost_and_comes_back_as_a_new_incarnation() {
    let entries = history(&plan(vec![Fault::Kill { who: Place::Replica(1), same_incarnation: false }]));
    let of = |start, fact: &Fact| entries.iter().any(|e| e.by == Source::Replica(1, start) && e.fact == *fact);
    assert!(of(0, &Fact::Started) && of(0, &Fact::Stopped) && of(1, &Fact::Started) && !of(1, &Fact::Stopped));
    assert!(member_counts(&entries, 0, 3_000, 3_500).iter().all(|others| *others == 1));
    assert!(member_counts(&entries, 0, 6_000, 8_000).iter().all(|others| *others == 2));
}

#[test]
fn a_frozen_replica_is_lost_and_continues_in_the_same_incarnation() {
    let entries = history(&plan(vec![Fault::Freeze { who: Place::Replica(1) }]));
    assert!(entries.iter().all(|entry| entry.fact != Fact::Stopped));
    assert_eq!(member_counts(&entries, 1, 1_250, 3_250), Vec::<usize>::new());
    assert!(member_counts(&entries, 0, 3_000, 3_500).iter().all(|others| *others == 1));
    assert!(member_counts(&entries, 0, 6_000, 8_000).iter().all(|others| *others == 2));
}

#[test]
fn separated_replicas_lose_each_other_and_still_serve() {
    let cut = Fault::Cut { from: Place::Replica(0), to: Place::Replicas, one_way: false };
    let entries = history(&plan(vec![cut]));
    assert!(member_counts(&entries, 0, 3_000, 3_500).iter().all(|others| *others == 0));
    assert!(member_counts(&entries, 1, 3_000, 3_500).iter().all(|others| *others == 1));
    assert!(ends(&entries).iter().all(|end| *end == End::Served));
}

#[test]
fn the_sink_can_end_the_run() {
    let mut seen = 0;
    cluster::run(&plan(Vec::new()), murmuration_entropy::seed, &mut |_| {
        seen += 1;
        seen < 100
    })
    .unwrap();
    assert_eq!(seen, 100);
}
