//! What drawn plans are like.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use super::*;

#[test]
fn a_seed_means_the_same_plan_for_ever() {
    let plan = Plan::from_seed(7);
    assert_eq!(plan, Plan::from_seed(7));
    assert_eq!(serde_json::to_string(&plan).unwrap(), include_str!("golden/seed-7.json").trim_end());
}

#[test]
fn every_drawn_plan_is_possible_and_survives_writing() {
    for seed in 0..2_000 {
        let plan = Plan::from_seed(seed);
        plan.check().unwrap();
        assert!(plan.faults.iter().all(|strike| strike.end() <= plan.duration), "{plan:?}");
        let json = serde_json::to_string(&plan).unwrap();
        assert_eq!(Plan::read(&json, "drawn").unwrap(), plan);
    }
}

#[test]
fn each_kind_of_fault_is_in_many_plans_and_absent_from_most() {
    let mut plans: BTreeMap<&str, usize> = BTreeMap::new();
    let mut calm = 0;
    for seed in 0..1_000 {
        let plan = Plan::from_seed(seed);
        calm += usize::from(plan.faults.is_empty());
        let names: BTreeSet<&str> = plan.faults.iter().map(|strike| strike.fault.name()).collect();
        names.into_iter().for_each(|name| *plans.entry(name).or_default() += 1);
    }
    assert_eq!(plans.keys().copied().collect::<BTreeSet<_>>(), Fault::NAMES.iter().copied().collect());
    assert!(plans.values().all(|count| (80..600).contains(count)), "{plans:?}");
    assert!(calm < 20, "{calm}");
}

#[test]
fn no_replica_dies_while_it_is_dead() {
    for plan in (0..500).map(Plan::from_seed) {
        for (index, strike) in plan.faults.iter().enumerate() {
            assert!(plan.faults[..index].iter().all(|other| !exclude(other, strike, &plan.town)), "{plan:?}");
        }
    }
}

#[test]
fn towns_of_all_sizes_are_drawn() {
    let towns: Vec<Town> = (0..300).map(|seed| Plan::from_seed(seed).town).collect();
    let of = |what: fn(&Town) -> usize| towns.iter().map(what).collect::<BTreeSet<_>>();
    assert_eq!(of(|town| town.replicas), (2..=5).collect());
    assert_eq!(of(|town| town.engines), (3..=16).collect());
    assert_eq!(of(|town| town.zones), (1..=3).collect());
    assert_eq!(of(|town| usize::from(town.peer_streams)).len(), 2);
}
