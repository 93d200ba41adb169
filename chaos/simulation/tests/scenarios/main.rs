//! Scenarios: storms with a name, a fixed seed, and an assertion of their own besides all invariants. The plan of each
//! is `chaos/plans/scenarios/<name>.yaml`.
#![allow(clippy::unwrap_used)]

mod prefixes;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use murmuration::event::Event;
use murmuration_simulation::history::{End, Entry, Fact, Legs, Phase, Snapshot, Source};
use murmuration_simulation::plan::Place;

use told::{Told, calm, s, tell};

/// A replica's clock is set back by a day while the replica is stopped. Its peers accept the new incarnation as soon as
/// any other.
#[test]
fn a_clock_is_set_back_before_a_restart() {
    tell("a-clock-is-set-back-before-a-restart", |told| {
        let seen = |entry: &&Entry| match (&entry.fact, entry.by) {
            (Fact::SnapshotTaken(snapshot), Source::Replica(0 | 1, _)) => {
                Some(snapshot.members.contains_key("replica-2"))
            }
            _ => None,
        };
        let snapshots: Vec<bool> = told.within(s(5.0, 7.0)).filter_map(|entry| seen(&entry)).collect();
        assert!(snapshots.len() > 10 && snapshots.iter().all(|seen| *seen), "{snapshots:?}");
        assert!(told.picks(s(5.0, 7.0), |replica| replica == 2) > 3);
    });
}

/// The snapshots of replicas in this part of the storm.
fn snapshots_in(told: &Told, part: Range<Duration>) -> Vec<&Snapshot> {
    let snapshots = told.within(part).filter_map(|entry| match &entry.fact {
        Fact::SnapshotTaken(snapshot) => Some(&**snapshot),
        _ => None,
    });
    snapshots.collect()
}

/// The greatest value of `of` in these snapshots.
fn most(snapshots: &[&Snapshot], of: impl Fn(&Snapshot) -> u64) -> f64 {
    snapshots.iter().map(|snapshot| of(snapshot)).max().unwrap() as f64
}

/// Nearly four hundred endpoint names come and go for good, three at a time. What a replica keeps is as large at the
/// end as it was once the first ones were forgotten, and it still receives the facts of its peer.
#[test]
fn a_month_of_pod_churn() {
    tell("a-month-of-pod-churn", |told| {
        let (before, after) = (snapshots_in(told, s(130.0, 146.0)), snapshots_in(told, s(168.0, 184.0)));
        let remembered = |snapshot: &Snapshot| snapshot.fleet.peers.iter().map(|peer| peer.endpoints as u64).sum();
        let grown = (most(&before, remembered), most(&after, remembered));
        assert!(grown.1 <= grown.0 * 1.1, "{grown:?} endpoints");
        assert!(
            most(&after, |snapshot| snapshot.fleet.peers.iter().map(|peer| u64::from(peer.in_flight.requests)).sum())
                > 0.0
        );
    });
}

/// A scheduler is ended while requests wait for it. Its replica serves again within a second, and no request fails.
#[test]
fn a_scheduler_fails_in_the_rush() {
    tell("a-scheduler-fails-in-the-rush", |told| {
        let restarted = told.within(s(3.0, 4.0)).any(|entry| {
            let event =
                matches!(&entry.fact, Fact::Emitted(Event::ActorRestarted { actor, .. }) if actor == "scheduler");
            event && matches!(entry.by, Source::Replica(1, _))
        });
        assert!(restarted, "no event reports that the scheduler restarted");
        assert!(told.picks(s(3.5, 4.0), |replica| replica == 1) > 3, "the replica does not serve");
        let failed = told.requests(s(0.0, 7.0)).iter().filter(|request| request.end != End::Served).count();
        assert_eq!(failed, 0);
    });
}

/// No replica receives anything from another. Requests of one conversation arrive at different replicas, and still
/// reach the same engine, because an isolated replica places by the prompt alone.
#[test]
fn all_replicas_isolated() {
    tell("all-replicas-isolated", |told| {
        let (before, isolated) = (told.cached(s(2.0, 4.0)), told.cached(s(6.0, 9.0)));
        assert!(before > 0.3 && isolated >= 0.8 * before, "cached {before:.3} before, {isolated:.3} isolated");
        assert!(told.requests(s(0.0, 10.0)).iter().all(|request| request.end == End::Served));
    });
}

/// Gossip datagrams arrive a second time, including those of a replica that died meanwhile. No replica counts it as
/// live, and no request fails.
#[test]
fn datagrams_come_twice() {
    tell("datagrams-come-twice", |told| {
        for entry in told.within(s(6.0, 7.0)) {
            if let (Fact::SnapshotTaken(snapshot), Source::Replica(1 | 2, _)) = (&entry.fact, entry.by) {
                assert!(!snapshot.members.contains_key("replica-0"), "{:?} at {:?}", snapshot.members, entry.at);
            }
        }
        assert!(told.requests(s(0.0, 10.0)).iter().all(|request| request.end == End::Served));
    });
}

/// Discovery is the only source of endpoints: while it announces none, no engine gets requests, even if replicas knew
/// engines before. Clients get a refusal with a stable code, and are served once discovery announces endpoints again.
#[test]
fn discovery_forgets_everyone_for_a_minute() {
    tell("discovery-forgets-everyone-for-a-minute", |told| {
        let meanwhile = told.requests(s(4.0, 61.0));
        assert!(meanwhile.len() > 200, "{}", meanwhile.len());
        assert!(meanwhile.iter().all(|request| request.refused && request.end == End::Refused));
        let before = told.requests(s(0.0, 1.5));
        assert!(!before.is_empty() && before.iter().all(|request| request.end == End::Served), "{before:?}");
        assert!(told.summary.figures.heal_s.is_some_and(|heal| heal <= 2.0));
    });
}

/// An engine restarts and loses its cache. Requests that it held fail, others go elsewhere while it is away, and it is
/// used again once it is back.
#[test]
fn engine_restarts_with_empty_cache() {
    tell("engine-restarts-with-empty-cache", |told| {
        let failed = told.requests(s(0.0, 9.0)).into_iter().filter(|request| request.end != End::Served);
        let late: Vec<_> = failed.filter(|request| !s(2.0, 5.5).contains(&request.asked)).collect();
        assert!(late.is_empty(), "{late:?}");
        let again = told
            .requests(s(5.5, 9.0))
            .into_iter()
            .filter(|request| request.to.as_deref().is_some_and(|to| to.ends_with("-1")));
        assert!(again.count() > 5);
    });
}

/// A replica freezes. The others continue without it and stop counting its work. When it continues, it believes nothing
/// outdated, and rejoins the tier.
#[test]
fn frozen_replica_wakes() {
    tell("frozen-replica-wakes", |told| {
        let dead = s(4.5, 6.0);
        assert_eq!(told.picks(dead.clone(), |replica| replica == 0), 0, "it was frozen");
        assert!(told.requests(dead).iter().all(|request| request.end == End::Served));
        assert!(told.picks(s(7.0, 8.0), |replica| replica == 0) > 3);
    });
}

/// Nine of ten requests share one prefix at three times the usual rate; then a replica dies. The engine that holds the
/// prefix must not be overloaded: all engines take part.
#[test]
fn hot_prefix_storm_meets_dead_peer() {
    tell("hot-prefix-storm-meets-dead-peer", |told| {
        let requests = told.requests(s(2.0, 6.0));
        let mut per_engine = BTreeMap::new();
        requests.iter().filter_map(|request| request.to.clone()).for_each(|to| *per_engine.entry(to).or_insert(0) += 1);
        let most = per_engine.values().max().copied().unwrap_or_default();
        assert!(per_engine.len() == 6 && most * 2 < requests.len(), "{per_engine:?} of {}", requests.len());
        assert!(requests.iter().all(|request| request.end == End::Served), "{requests:?}");
    });
}

/// A replica comes back with another wire version than its peers. No request fails, it sees the others and is seen, and
/// it serves its part of the requests.
#[test]
fn new_wire_version_joins_old_cluster() {
    tell("new-wire-version-joins-old-cluster", |told| {
        let requests = told.requests(s(0.0, 7.0));
        assert!(requests.iter().all(|request| request.end == End::Served), "{requests:?}");
        assert!(told.picks(s(4.0, 7.0), |replica| replica == 2) > 10);
        assert!(told.picks(s(4.0, 7.0), |replica| replica != 2) > 20);
    });
}

/// No request fails, every replica serves, and all learn what the others placed: the checker compares their views.
fn all_work_together(told: &Told) {
    let requests = told.requests(s(0.0, 9.0));
    assert!(requests.iter().all(|request| request.end == End::Served), "{requests:?}");
    for one in 0..3 {
        assert!(told.picks(s(8.0, 9.0), |replica| replica == one) > 2, "{one}");
    }
}

/// Replicas of wire versions 3 and 4 share a tier while it is upgraded.
#[test]
fn tier_is_upgraded_replica_by_replica() {
    tell("tier-is-upgraded-replica-by-replica", all_work_together);
}

/// The same without peer streams.
#[test]
fn tier_is_upgraded_by_gossip_alone() {
    tell("tier-is-upgraded-by-gossip-alone", all_work_together);
}

/// A deployment is rolled out under load. Requests that an engine held when it left may fail. No request goes to an
/// engine that left longer ago than replicas take to notice, and new engines are used.
#[test]
fn pods_are_replaced_one_by_one() {
    tell("pods-are-replaced-one-by-one", |told| {
        let used = |part| told.requests(part).into_iter().filter_map(|request| request.to).collect::<BTreeSet<_>>();
        let (before, after) = (used(s(0.0, 2.0)), used(s(6.5, 8.0)));
        assert!(before.len() == 4 && after.len() == 4, "{before:?} {after:?}");
        assert!(before.is_disjoint(&after), "{before:?} {after:?}");
        assert_eq!(used(s(11.2, 12.0)).difference(&after).count(), 0, "names stay when addresses change");
        assert!(told.requests(s(6.5, 7.5)).iter().all(|request| request.end == End::Served));
    });
}

/// The legs of pairs that ended in this part of the storm.
fn legs(told: &Told, part: Range<Duration>) -> Vec<&Legs> {
    let ended = told.within(part).filter_map(|entry| match &entry.fact {
        Fact::LegsEnded { legs, .. } => Some(legs),
        _ => None,
    });
    ended.collect()
}

/// When this replica or engine died in the middle of a pair.
fn struck(told: &Told, who: Place) -> Duration {
    let died = told.within(s(0.0, 12.0)).find(|entry| entry.fact == Fact::PairStruck(who));
    died.unwrap_or_else(|| panic!("{who} took part in no pair; the scenario has no point")).at
}

/// A prompt that was not handed over in time is computed where it is decoded; no client gets a token that follows from
/// other blocks, and none waits for ever.
#[test]
fn hand_overs_are_late() {
    tell("hand-overs-are-late", |told| {
        let why = |legs: &&Legs, word: &str| matches!(legs, Legs::Computed(why) if *why == word);
        let count = |word: &str| legs(told, s(0.0, 16.0)).iter().filter(|legs| why(legs, word)).count();
        assert!(count("stale") > 5 && count("the transfer broke") > 5);
        assert!(told.requests(s(0.0, 9.0)).iter().all(|request| request.end == End::Served));
    });
}

/// A replica dies between the legs of a pair that it chose, and another one in the first leg. No request fails, and two
/// seconds later no peer counts work of the dead one on an endpoint of either stage.
#[test]
fn planner_dies() {
    tell("planner-dies", |told| {
        for replica in [1, 2] {
            let died = struck(told, Place::Replica(replica));
            let name = format!("replica-{replica}");
            let from = died + Duration::from_secs(2);
            let after =
                told.entries.iter().filter(|entry| (from..from + Duration::from_millis(300)).contains(&entry.at));
            let seen: Vec<_> = after.filter_map(Entry::snapshot).filter(|(by, _)| *by != replica).collect();
            assert!(!seen.is_empty());
            for (_, snapshot) in seen {
                let counted = snapshot.fleet.peers.iter().filter(|peer| peer.replica.0 == name);
                assert!(counted.into_iter().all(|peer| peer.in_flight.requests == 0), "{:?}", snapshot.fleet.peers);
            }
        }
        let moved = legs(told, s(0.0, 9.0)).iter().filter(|legs| matches!(legs, Legs::Moved { .. })).count();
        let requests = told.requests(s(0.0, 9.0));
        assert!(moved * 5 > requests.len(), "{moved} pairs of {} requests", requests.len());
        assert!(requests.iter().all(|request| request.end == End::Served), "{requests:?}");
    });
}

/// Engines that prefill die in their legs, transfers break, and engines don't reach each other. Another engine of the
/// list computes the prompt, or the one that decodes; every request is served.
#[test]
fn prefiller_churn() {
    tell("prefiller-churn", |told| {
        for engine in 0..3 {
            struck(told, Place::Engine(engine));
        }
        let failing = legs(told, s(7.0, 11.0));
        let computed = failing.iter().filter(|legs| matches!(legs, Legs::Computed(_))).count();
        assert!(computed > 5, "{failing:?}");
        let moved = legs(told, s(0.0, 7.0)).iter().filter(|legs| matches!(legs, Legs::Moved { .. })).count();
        assert!(moved > 50, "{moved}");
        assert!(told.requests(s(0.0, 11.0)).iter().all(|request| request.end == End::Served));
    });
}

/// A replica is killed while answers stream through it. Answers that it held are cut, because replicas see answers here
/// (`stay`). All other requests are served, and requests sent to the dead replica are answered by another.
#[test]
fn replica_dies_mid_stream() {
    tell("replica-dies-mid-stream", |told| {
        let requests = told.requests(s(0.0, 7.0));
        let cut: Vec<_> = requests.iter().filter(|request| request.end == End::Cut).collect();
        assert!(!cut.is_empty(), "nothing streamed through the replica when it died; the scenario has no point");
        assert!(cut.iter().all(|request| request.sent_by == Some(1) && request.asked < s(3.0, 3.0).end), "{cut:?}");
        assert!(requests.iter().all(|request| matches!(request.end, End::Served | End::Cut)), "{requests:?}");
    });
}

/// All replicas are restarted, one after the other. No request fails, and conversations find their prefixes where they
/// were: each restarted replica has learned from those that stayed.
#[test]
fn rolling_restart_keeps_prefix_warm() {
    tell("rolling-restart-keeps-prefix-warm", |told| {
        let requests = told.requests(s(5.0, 11.0));
        assert!(requests.iter().all(|request| request.end == End::Served), "{requests:?}");
        let (during, otherwise) =
            (told.cached(s(2.0, 12.0)), calm("rolling-restart-keeps-prefix-warm").cached(s(2.0, 12.0)));
        assert!(
            otherwise > 0.3 && during >= 0.97 * otherwise,
            "cached {during:.3}, and {otherwise:.3} without restarts"
        );
    });
}

/// Two replicas that both died believe the same once requests have ended, and so give the same answers (seed
/// 900000470).
#[test]
fn two_deaths_and_then_quiet() {
    tell("two-deaths-and-then-quiet", |told| {
        let quiesced = told.entries.iter().skip_while(|entry| entry.fact != Fact::Phase(Phase::Quiesced));
        let twins = quiesced.filter(|entry| matches!(entry.fact, Fact::Twins(_))).count();
        assert!(twins >= 2, "{twins}");
    });
}

/// The network splits in two, and each half has replicas and engines. During the split each half serves with what it
/// can reach; two seconds after its end all replicas see each other again.
#[test]
fn two_halves_meet_again() {
    tell("two-halves-meet-again", |told| {
        let in_the_split = || s(3.0, 5.0);
        assert!(told.picks(in_the_split(), |replica| replica % 2 == 0) > 5);
        assert!(told.picks(in_the_split(), |replica| replica % 2 == 1) > 5);
        let served = told.requests(in_the_split()).iter().filter(|request| request.end == End::Served).count();
        assert!(served > 20, "{served}");
        assert!(told.summary.figures.heal_s.is_some_and(|heal| heal <= 2.0), "{:?}", told.summary.figures);
    });
}

/// Half of all replicas and engines stop at once. Two seconds later every request to the other half is served.
#[test]
fn zone_goes_dark() {
    tell("zone-goes-dark", |told| {
        let later = told.requests(s(4.0, 6.0));
        assert!(later.len() > 30, "{}", later.len());
        assert!(later.iter().all(|request| request.end == End::Served), "{later:?}");
        assert!(later.iter().all(|request| request.sent_by.is_some_and(|replica| replica % 2 == 0)), "{later:?}");
    });
}

/// A plan without a test would never run.
#[test]
fn every_shipped_scenario_has_its_test() {
    let tests = [include_str!("main.rs"), include_str!("prefixes.rs")].concat();
    let folder = format!("{}/../plans/scenarios", env!("CARGO_MANIFEST_DIR"));
    let names = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let names: Vec<String> = names.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    let without: Vec<&String> = names.iter().filter(|name| !tests.contains(&format!("tell(\"{name}\""))).collect();
    assert!(names.len() > 10 && without.is_empty(), "scenarios without a test: {without:?}");
}
