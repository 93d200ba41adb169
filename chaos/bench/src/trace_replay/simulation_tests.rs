//! Tests of whole runs.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::trace_replay::compare::{self, At, Configuration};
use crate::trace_replay::plan::{Pairs, Sharing, Zones, engine};
use crate::trace_replay::tempo::Demand;
use crate::trace_replay::workload::{Workload, generate};

fn plan(replicas: usize, sharing: Sharing) -> Plan {
    Plan {
        replicas,
        zones: Zones::ONE,
        engines: 4,
        engine: engine(1 << 20),
        slow_engines: 0,
        slowness: 1.0,
        pairs: None,
        way: Way::Schedulers(sharing),
        loss: 0.0,
        seed: 7,
        config: murmuration::config::default_text().to_owned(),
        patience: Duration::from_secs(600),
    }
}

fn chat(requests: usize) -> (Vec<Recorded>, Tempo) {
    let mut trace = generate(Workload::Chat, 3);
    trace.truncate(requests);
    let speed = Demand::of(&trace).speed(&engine(1 << 20), 4, 0.6);
    let tempo = Tempo::new(&trace, speed, false, 3);
    (trace, tempo)
}

fn recorded(timestamp: f64, hash_ids: &[u64]) -> Recorded {
    Recorded { timestamp, input_length: 512 * hash_ids.len() as u64, output_length: 4, hash_ids: hash_ids.to_vec() }
}

#[test]
fn a_small_trace_has_the_hits_that_can_be_counted_by_hand() {
    // The second request repeats three ids of the first. The third repeats all four of the second, but its last token
    // is computed again with its block: 3 + 3 of 3 + 4 + 4 ids.
    let trace = [recorded(0.0, &[1, 2, 3]), recorded(9e3, &[1, 2, 3, 4]), recorded(18e3, &[1, 2, 3, 4])];
    let tempo = Tempo::new(&trace, 1.0, false, 1);
    for replicas in [1, 3] {
        let outcome = run(&plan(replicas, Sharing::Full), &trace, &tempo).unwrap();
        assert_eq!((outcome.hit, outcome.unfinished), (6.0 / 11.0, 0), "{replicas} replicas");
    }
}

#[test]
fn one_seed_gives_one_outcome() {
    let (trace, tempo) = chat(300);
    let lossy = Plan { loss: 0.05, ..plan(4, Sharing::Full) };
    let json = |plan: &Plan| serde_json::to_string(&run(plan, &trace, &tempo).unwrap()).unwrap();
    assert_eq!(json(&lossy), json(&lossy));
    assert_ne!(json(&lossy), json(&Plan { seed: 8, ..lossy.clone() }));
}

#[test]
fn one_replica_that_shares_everything_is_the_oracle() {
    let (trace, tempo) = chat(300);
    let one = plan(1, Sharing::Full);
    let outcome = run(&one, &trace, &tempo).unwrap();
    assert_eq!(outcome, run(&plan(8, Sharing::Gossip).oracle(), &trace, &tempo).unwrap());
    assert_eq!((outcome.agreement, outcome.agreement_quiet), (Some(1.0), Some(1.0)));
    assert!(outcome.lanes.is_empty() && outcome.unfinished == 0);
}

#[test]
fn lost_messages_are_counted_and_requested_again() {
    let (trace, tempo) = chat(300);
    let outcome = run(&Plan { loss: 0.1, ..plan(3, Sharing::Streams) }, &trace, &tempo).unwrap();
    let stream = &outcome.lanes["stream"];
    assert!(stream.lost > 0 && stream.gaps > 0 && outcome.unfinished == 0, "{stream:?}");
}

#[test]
fn every_way_serves_all_requests() {
    let (trace, tempo) = chat(120);
    let ways = <Sharing as clap::ValueEnum>::value_variants().iter().map(|sharing| Way::Schedulers(*sharing));
    for way in ways.chain([Way::RoundRobin]) {
        let outcome = run(&plan(3, Sharing::Full).by(way), &trace, &tempo).unwrap();
        assert_eq!((outcome.requests, outcome.unfinished), (120, 0), "{way:?}");
    }
}

#[test]
fn configurations_are_compared_at_each_pace() {
    let (trace, _) = chat(120);
    let one = |name: &str, config: &str, replicas| Configuration { name: name.into(), config: config.into(), replicas };
    let configurations =
        [one("llm-d", murmuration::config::llm_d_text(), 1), one("default", murmuration::config::default_text(), 3)];
    let points =
        compare::run(&plan(1, Sharing::Full), &configurations, &[At::Load(0.3), At::Speed(2.0)], 2, true, &trace)
            .unwrap();
    assert!((points[0].load - 0.3).abs() < 1e-9 && points[1].speed == 2.0);
    for point in &points {
        assert_eq!(point.entries.iter().map(|entry| entry.seeds.len()).collect::<Vec<_>>(), [2, 2]);
        for entry in &point.entries {
            assert!(entry.mean.unfinished == 0.0 && entry.mean.ttft_s >= point.bounds.alone_s * 0.99, "{entry:?}");
            assert!(entry.mean.e2e_s > entry.mean.ttft_s && entry.mean.goodput > 0.0);
        }
    }
}

#[test]
fn slow_engines_are_spread_over_the_pool_and_take_longer() {
    let slow = Plan { slow_engines: 2, slowness: 2.0, ..plan(1, Sharing::Full) };
    assert_eq!((0..4).map(|n| slow.slowness_of(n)).collect::<Vec<_>>(), [1.0, 2.0, 1.0, 2.0]);
    let (trace, tempo) = chat(120);
    let ttft = |plan: &Plan| run(plan, &trace, &tempo).unwrap().ttft_mean_s;
    assert!(ttft(&slow) > ttft(&plan(1, Sharing::Full)));
}

/// Two engines that prefill and two that decode, with pairs by price.
fn pairs(replicas: usize, config: &str) -> Plan {
    let pairs = Pairs { prefillers: 2, kv_bytes_per_token: 131_072.0, bytes_per_s: 1e10 };
    Plan { engines: 4, pairs: Some(pairs), config: config.to_owned(), ..plan(replicas, Sharing::Full) }
}

#[test]
fn pairs_serve_all_requests_and_replicas_agree_on_them() {
    let config = include_str!("../../../../deploy/config/pair.yaml");
    let (trace, tempo) = chat(300);
    let outcome = run(&pairs(3, config), &trace, &tempo).unwrap();
    assert_eq!(outcome.unfinished, 0);
    assert_eq!(outcome.agreement_equal, Some(1.0), "equal views, equal pairs");
    let again = run(&pairs(3, config), &trace, &tempo).unwrap();
    assert_eq!(outcome, again);
    // A slow link only costs time.
    let mut slow = pairs(3, include_str!("../../../../tests/golden/decisions/pd.yaml"));
    let fast = run(&slow, &trace, &tempo).unwrap();
    slow.pairs = slow.pairs.map(|pairs| Pairs { bytes_per_s: 1e9, ..pairs });
    let slow = run(&slow, &trace, &tempo).unwrap();
    assert!(slow.unfinished == 0 && slow.ttft_mean_s > fast.ttft_mean_s, "{} {}", slow.ttft_mean_s, fast.ttft_mean_s);
}
