//! Tests of plans by name, moments, network rules, requests and figures.
//!
//! Must not know processes: `tests/run` runs storms on real ones.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use super::fault_injector::Injection;
use super::figures::{Figures, Stretch, held};
use super::plans::{SHIPPED, find, shorter};
use super::rules::{Map, rules};
use super::run::{Observed, moments};
use super::traffic::call;
use super::verdict::judge;
use super::watch::{Asked, Observation, Observations};
use crate::peers_page::PeersPage;
use murmuration_kit::client::{Cause, Sample, Tally};
use murmuration_simulation::plan::{Fault, Place, Plan};

fn plan(faults: &str) -> Plan {
    Plan::read(
        &format!("name: p\nduration: 60s\ncluster: {{ replicas: 2, engines: 2, zones: 2 }}\nfaults:\n{faults}"),
        "p",
    )
    .unwrap()
}

#[test]
fn every_shipped_plan_is_read_under_its_own_name_and_has_bars() {
    for (name, _) in SHIPPED {
        let plan = find(name).unwrap();
        assert!(plan.name == name && !plan.bars.is_empty() && !plan.faults.is_empty(), "{name}");
        let end = plan.faults.iter().map(|strike| strike.end()).max().unwrap().max(plan.duration);
        assert!((14..=36).contains(&end.as_secs()), "{name} takes {end:?}");
    }
}

#[test]
fn the_error_for_an_unknown_plan_lists_the_known_ones() {
    let message = find("kill-two").unwrap_err().to_string();
    assert!(message.contains("kill-two") && message.contains("kill-one, kill-all-but-one"), "{message}");
}

#[test]
fn a_short_storm_takes_half_the_time_and_lets_each_fault_be_noticed() {
    let short = shorter(plan("  - { at: 8s, for: 3s, fault: kill, who: replica-0 }"));
    assert_eq!((short.duration, short.faults[0].at), (Duration::from_secs(30), Duration::from_secs(4)));
    assert_eq!(short.faults[0].lasting, Duration::from_secs(2));
}

#[test]
fn what_ends_at_a_moment_ends_before_another_begins() {
    let plan = plan(
        "  - { at: 4s, for: 1s, fault: burst, factor: 2 }\n  - { at: 1s, for: 3s, fault: freeze, who: replica-0 }",
    );
    let order: Vec<(bool, usize)> = moments(&plan).into_iter().map(|(_, begins, index)| (begins, index)).collect();
    assert_eq!(order, [(true, 1), (false, 1), (true, 0), (false, 0)]);
}

#[test]
fn a_cut_between_zones_is_enforced_at_both_ends() {
    let plan = plan("  - { at: 1s, for: 1s, fault: cut, from: zone-0, to: zone-1 }");
    let names = ["replica-0", "replica-1", "engine-0", "engine-1"];
    let hosts =
        names.iter().enumerate().map(|(i, name)| ((*name).to_owned(), [198, 18, 0, 10 + i as u8].into())).collect();
    let map = Map { hosts, gateway: [198, 18, 0, 1].into() };
    let fault: &Fault = &plan.faults[0].fault;
    let all = rules(&[fault], &plan.cluster, &map);
    let zero = all["replica-0"].text();
    assert!(zero.contains("ip daddr 198.18.0.11 drop") && zero.contains("ip daddr 198.18.0.13 drop"), "{zero}");
    assert!(!zero.contains("198.18.0.12 "), "{zero}");
    assert!(all["engine-1"].text().contains("ip daddr 198.18.0.10 drop"));
    assert_eq!(rules(&[], &plan.cluster, &map)["replica-0"].text().matches("drop").count(), 0);
}

#[test]
fn loss_between_replicas_is_one_rule_each() {
    let plan = plan("  - { at: 1s, for: 1s, fault: loss, from: replicas, to: replicas, share: 0.05 }");
    let hosts = [("replica-0", 10), ("replica-1", 11)].map(|(name, last)| (name.to_owned(), [198, 18, 0, last].into()));
    let map = Map { hosts: hosts.into(), gateway: [198, 18, 0, 1].into() };
    let all = rules(&[&plan.faults[0].fault], &plan.cluster, &map);
    assert_eq!(all["replica-0"].text().matches("numgen random mod 1000 < 50 drop").count(), 1);
}

#[test]
fn a_conversation_grows_from_turn_to_turn_and_others_differ() {
    let plan = Plan::read("name: p\nduration: 60s", "p").unwrap();
    let text = |number| {
        let body: serde_json::Value =
            serde_json::from_slice(&call(&plan, "tiny", number, Duration::ZERO).body).unwrap();
        body["messages"][0]["content"].as_str().unwrap().to_owned()
    };
    let turns = plan.traffic.conversations as u64;
    assert!(text(turns).starts_with(&text(0)) && text(turns).len() > text(0).len());
    assert!(!text(1).starts_with(&text(0)[..100]));
}

#[test]
fn a_stretch_without_requests_has_no_figures() {
    let nothing = Stretch::of([].into_iter());
    assert_eq!((nothing.requests, nothing.first_token_p50_ms, nothing.cached_share), (0, None, None));
}

#[test]
fn agreement_is_the_share_of_the_most_common_answer_of_those_that_came() {
    let agreement = |answers: &[&str]| {
        let answers = answers.iter().map(|answer| (*answer).to_owned()).enumerate().collect();
        Asked { at: Duration::ZERO, answers }.agreement()
    };
    assert_eq!([&[][..], &["a"]].map(agreement), [None, None]);
    assert_eq!(agreement(&["a", "a"]), Some(1.0));
    assert_eq!(agreement(&["a", "b", "b", "c"]), Some(0.5));
}

#[test]
fn beliefs_that_never_become_equal_are_named() {
    let mut plan = plan("  - { at: 1s, for: 1s, fault: freeze, who: replica-0 }");
    plan.bars.equal_within = Some(Duration::from_secs(2));
    let measured = |reports: [&str; 2]| {
        let look = |(replica, reports): (usize, &str)| {
            let digest = [("reports", reports), ("prefixes", "7")];
            let digest = digest.map(|(part, digest)| (part.to_owned(), digest.to_owned())).into();
            let seen = Some(PeersPage { digest, ..PeersPage::default() });
            Observation { number: 1, at: Duration::from_secs(9), replica, seen }
        };
        let seen = reports.into_iter().enumerate().map(look).collect();
        let observations = Observations { seen, ..Observations::default() };
        let observed = Observed {
            tally: Tally::default(),
            observations,
            injections: Vec::new(),
            notes: BTreeSet::new(),
            quiet: Duration::from_secs(8),
        };
        let judged = judge(&plan.bars, &Figures::of(&plan, &observed)).remove(0);
        (judged.measured, judged.met)
    };
    assert_eq!(measured(["1", "1"]), ("0.00 s".to_owned(), true));
    assert_eq!(measured(["1", "2"]), ("never: reports".to_owned(), false));
}

#[test]
fn a_failure_is_charged_to_one_killed_replica_and_to_each_no_more_than_it_held() {
    let kill = |replica: usize, second: u64| {
        let (began, ended) = (Duration::from_secs(second), Duration::from_secs(20));
        let fault = Fault::Kill { who: Place::Replica(replica), same_incarnation: false };
        Injection { index: replica, fault, began, ended, replicas: vec![replica], killed: 1, held: 2 }
    };
    let broke = |number: u64, ended_ms: u64| {
        let (due, ended) = (Duration::from_secs(7), Duration::from_millis(ended_ms));
        Sample { number, due, ended, outcome: Err(Cause::Reset) }
    };
    // All were open at the first kill, and fall into the windows of both kills.
    let samples: Vec<Sample> = (0..4).map(|number| broke(number, 9_100)).collect();
    assert_eq!(held(&[kill(0, 8), kill(1, 9)], &samples, true), 4);
    assert_eq!(held(&[kill(0, 8)], &samples, true), 3, "what it held, and one that came during the reading");
    assert_eq!(held(&[kill(0, 8)], &[broke(0, 7_500), broke(1, 12_000)], true), 0, "before the kill, and long after");
    assert_eq!(held(&[kill(0, 8)], &samples, false), 0, "replicas that see no answer break none");
    let engine = Injection { fault: Fault::EngineKill { who: Place::Engine(0) }, ..kill(0, 8) };
    assert_eq!(held(&[engine], &samples, false), 3, "an engine breaks its own in any case");
}
