//! What three replicas guarantee, as far as a client can see it.

use std::time::Duration;

use murmuration_actors::replica::PromptSalt;
use murmuration_actors::replication::ReplicationSettings;

use murmuration_kit::ext_proc::expect::{destination, post};
use murmuration_kit::{Config, Engine, Replica, Tier};

/// A completion whose prompt is long enough for many blocks.
fn prompt(topic: &str) -> Vec<u8> {
    let text = format!("{topic} ").repeat(800);
    format!(r#"{{"model": "tiny", "prompt": "{text}", "max_tokens": 4}}"#).into_bytes()
}

async fn engines(count: usize) -> Vec<Engine> {
    Engine::several(count, 0, 0).await
}

async fn start_replica(engines: &[Engine], tier: &Tier, number: usize) -> Replica {
    start_with_settings(engines, tier.settings(number)).await
}

async fn start_with_settings(engines: &[Engine], settings: ReplicationSettings) -> Replica {
    start_with_config(engines, Config { replication: Some(settings), ..Config::scoring() }).await
}

async fn start_with_config(engines: &[Engine], config: Config) -> Replica {
    Replica::watching(config, engines).await
}

/// Starts replicas and waits until each has met all others.
async fn start_replicas(engines: &[Engine], tier: &Tier, count: usize) -> Vec<Replica> {
    let mut replicas = Vec::new();
    for number in 0..count {
        replicas.push(start_replica(engines, tier, number).await);
    }
    for replica in &replicas {
        replica.until_metric("murmuration_peers ", count as u64 - 1).await;
    }
    replicas
}

/// Where a request goes. It is answered in full, because a request that is given up leaves no prefix behind.
async fn chosen(replica: &Replica, body: &[u8]) -> String {
    chosen_for(replica, &[], body).await
}

async fn chosen_for(replica: &Replica, headers: &[(&str, &str)], body: &[u8]) -> String {
    let mut stream = replica.open_stream();
    let (head, _) = stream.ask(post(headers), body).await;
    stream.serve().await;
    destination(&head)
}

/// Waits until every replica knows every engine's load exactly.
async fn every_load_is_known(replicas: &[Replica], engines: &[Engine]) {
    for replica in replicas {
        replica.until_exact(engines).await;
    }
}

async fn a_prefix_is_found_by_all(tier: Tier) {
    let engines = engines(4).await;
    let replicas = start_replicas(&engines, &tier, 3).await;
    all_find_what_one_placed(&replicas).await;
}

/// Asks one replica after the other for something new, and then all of them for the same.
async fn all_find_what_one_placed(replicas: &[Replica]) {
    for (number, topic) in ["starlings", "herring", "locusts", "gnus", "ants", "bees"].iter().enumerate() {
        let body = prompt(topic);
        let first = chosen(&replicas[number % 3], &body).await;
        let address = first.parse().unwrap();
        let held = replicas[number % 3].endpoint(address).await.index_blocks;
        for replica in replicas {
            replica.until_endpoint(address, |endpoint| endpoint.index_blocks >= held).await;
            assert_eq!(chosen(replica, &body).await, first, "{topic}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_that_one_replica_placed_is_found_by_all() {
    a_prefix_is_found_by_all(Tier::new(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_streams_a_prefix_that_one_replica_placed_is_found_by_all() {
    a_prefix_is_found_by_all(Tier::new(3).without_streams()).await;
}

/// No salt is configured: each replica draws its own, and all hash under the same one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_without_a_salt_agree_on_one() {
    let (engines, tier) = (engines(4).await, Tier::new(3));
    let mut replicas = Vec::new();
    for number in 0..3 {
        let (replication, salt) = (Some(tier.settings(number)), PromptSalt::Agreed(1 + number as u128));
        replicas.push(start_with_config(&engines, Config { replication, salt, ..Config::scoring() }).await);
    }
    all_find_what_one_placed(&replicas).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_engine_has_one_keeper_and_every_replica_knows_its_load() {
    let engines = engines(6).await;
    let replicas = start_replicas(&engines, &Tier::new(3), 3).await;
    every_load_is_known(&replicas, &engines).await;
    let kept = || replicas.iter().map(|replica| replica.metric("murmuration_endpoints_kept ")).sum::<u64>();
    // The last replica to join may not be known to the others yet.
    for _ in 0..200 {
        if kept() == 6 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(kept(), 6);
    engines[0].show(7, 3);
    for replica in &replicas {
        replica.until_waiting(engines[0].address, 7).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_replicas_work_is_void_and_its_engines_find_another_keeper() {
    let engines = engines(6).await;
    let mut replicas = start_replicas(&engines, &Tier::new(3), 3).await;
    let body = prompt("starlings");
    let mut stream = replicas[0].open_stream();
    let (head, _) = stream.ask(post(&[]), &body).await;
    let address = destination(&head).parse().unwrap();
    for replica in &replicas[1..] {
        replica.until_endpoint(address, |endpoint| endpoint.foreign.requests == 1).await;
    }
    drop(replicas.remove(0));
    for replica in &replicas {
        replica.until_endpoint(address, |endpoint| endpoint.foreign.requests == 0).await;
        replica.until_metric("murmuration_peers_lost_total", 1).await;
    }
    engines.iter().for_each(|engine| engine.show(5, 1));
    for engine in &engines {
        for replica in &replicas {
            replica.until_waiting(engine.address, 5).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_joins_is_ready_with_what_the_others_know() {
    let engines = engines(4).await;
    let tier = Tier::new(3);
    let mut replicas = start_replicas(&engines, &tier, 2).await;
    let body = prompt("herring");
    let first = chosen(&replicas[0], &body).await;
    replicas[1].until_endpoint(first.parse().unwrap(), |endpoint| endpoint.index_blocks > 0).await;
    // The surviving replica publishes what the dead one placed.
    drop(replicas.remove(0));
    replicas[0].until_metric("murmuration_peers_lost_total", 1).await;
    let joiner = start_replica(&engines, &tier, 2).await;
    joiner.until_endpoint(first.parse().unwrap(), |endpoint| endpoint.index_blocks > 0).await;
    assert_eq!(chosen(&joiner, &body).await, first);
}

async fn a_session_stays(tier: Tier) {
    let engines = engines(4).await;
    let mut replicas = Vec::new();
    for number in 0..3 {
        let config = Config { sessions: true, replication: Some(tier.settings(number)), ..Config::scoring() };
        replicas.push(start_with_config(&engines, config).await);
    }
    for replica in &replicas {
        replica.until_metric("murmuration_peers ", 2).await;
    }
    let mut free = 0;
    for (number, session) in ["one", "two", "three", "four"].into_iter().enumerate() {
        let named = [("x-session-id", session)];
        let first = chosen_for(&replicas[number % 3], &named, &prompt(session)).await;
        for replica in &replicas {
            replica.until_sessions(number + 1).await;
            let other = prompt(&format!("nothing like {session}"));
            assert_eq!(chosen_for(replica, &named, &other).await, first, "{session}");
            free += usize::from(chosen(replica, &prompt(&format!("{session} without a session"))).await != first);
        }
    }
    assert!(free > 0, "without a session a request may go to another engine");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_one_replica_bound_is_followed_by_all() {
    a_session_stays(Tier::new(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_streams_a_session_that_one_replica_bound_is_followed_by_all() {
    a_session_stays(Tier::new(3).without_streams()).await;
}

async fn two_wire_versions(tier: Tier, earlier: u8) {
    let engines = engines(2).await;
    let mut replicas = start_replicas(&engines, &tier, 2).await;
    let settings = ReplicationSettings { wire_version_max: earlier, ..tier.settings(2) };
    replicas.push(start_with_settings(&engines, settings).await);
    for replica in &replicas {
        replica.until_metric("murmuration_peers ", 2).await;
    }
    let body = prompt("starlings");
    for (asked, publishes_tokens) in [(0, true), (2, earlier > 1)] {
        let mut stream = replicas[asked].open_stream();
        let (head, _) = stream.ask(post(&[]), &body).await;
        let address = destination(&head).parse().unwrap();
        for (number, replica) in replicas.iter().enumerate().filter(|(number, _)| *number != asked) {
            let received = replica.until_endpoint(address, |endpoint| endpoint.foreign.requests == 1).await;
            assert_eq!(
                received.foreign.decode_tokens > 0,
                publishes_tokens && (number != 2 || earlier > 1),
                "{number} of {asked}"
            );
        }
        stream.serve().await;
        for replica in replicas.iter() {
            replica.until_endpoint(address, |endpoint| endpoint.foreign.requests == 0).await;
        }
    }
    if earlier == 1 {
        replicas[2].until_metric("murmuration_peer_ignored_total{reason=\"unknown-kind\"}", 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_wire_versions_share_a_tier() {
    for earlier in [1, 3] {
        two_wire_versions(Tier::new(3), earlier).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_streams_two_wire_versions_share_a_tier() {
    for earlier in [1, 3] {
        two_wire_versions(Tier::new(3).without_streams(), earlier).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_leaves_in_order_is_not_waited_for() {
    let engines = engines(2).await;
    let mut replicas = start_replicas(&engines, &Tier::new(2), 2).await;
    replicas.remove(0).drain().await;
    replicas[0].until_metric("murmuration_peers_lost_total", 1).await;
    every_load_is_known(&replicas, &engines).await;
}
