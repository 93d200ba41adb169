//! Properties of drawn plans.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use super::*;

#[test]
fn a_seed_always_draws_the_same_plan() {
    let plan = Plan::from_seed(7);
    assert_eq!(plan, Plan::from_seed(7));
    assert_eq!(serde_json::to_string(&plan).unwrap(), include_str!("golden/seed-7.json").trim_end());
}

#[test]
fn every_drawn_plan_is_valid_and_written_without_loss() {
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
fn no_replica_is_stopped_while_it_is_stopped() {
    for plan in (0..500).map(Plan::from_seed) {
        for (index, strike) in plan.faults.iter().enumerate() {
            assert!(plan.faults[..index].iter().all(|other| !exclude(other, strike, &plan.cluster)), "{plan:?}");
        }
    }
}

#[test]
fn clusters_of_all_sizes_are_drawn() {
    let clusters: Vec<ClusterSpec> = (0..300).map(|seed| Plan::from_seed(seed).cluster).collect();
    let of = |what: fn(&ClusterSpec) -> usize| clusters.iter().map(what).collect::<BTreeSet<_>>();
    assert_eq!(of(|cluster| cluster.replicas), (2..=5).collect());
    assert_eq!(of(|cluster| cluster.engines), (3..=16).collect());
    assert_eq!(of(|cluster| cluster.zones), (1..=3).collect());
    let apart = |cluster: &ClusterSpec| usize::from(!cluster.zone_latency.is_zero());
    assert_eq!(of(apart).len(), 2);
    assert!(clusters.iter().all(|cluster| cluster.zones > 1 || cluster.zone_latency.is_zero()));
    assert_eq!(of(|cluster| usize::from(cluster.peer_streams)).len(), 2);
}

#[test]
fn one_seed_in_three_has_pairs_and_faults_of_them() {
    let plans: Vec<Plan> = (0..300).map(Plan::from_seed).filter(|plan| plan.cluster.prefillers > 0).collect();
    assert!((70..130).contains(&plans.len()), "{}", plans.len());
    let of_pairs = |plan: &&Plan| {
        let pairs = |fault: &Fault| matches!(fault, Fault::PairKill { .. } | Fault::Transfer { .. });
        plan.faults.iter().any(|strike| pairs(&strike.fault))
    };
    assert!(plans.iter().filter(of_pairs).count() * 2 > plans.len());
    assert!(plans.iter().all(|plan| plan.cluster.decoders() > 0));
}
