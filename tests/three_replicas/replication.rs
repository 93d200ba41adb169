//! What three replicas promise that a client can see.

use std::time::Duration;

use murmuration::fleet::Trust;
use murmuration_actors::replica::PromptSalt;
use murmuration_actors::replication::ReplicationSettings;

use crate::support::engine::page;
use crate::support::envoy::{destination, json, post, response_body};
use crate::support::{Config, Engine, Manner, Meeting, Replica};

/// A completion whose prompt is long enough for many blocks.
fn prompt(topic: &str) -> Vec<u8> {
    let text = format!("{topic} ").repeat(800);
    format!(r#"{{"model": "tiny", "prompt": "{text}", "max_tokens": 4}}"#).into_bytes()
}

async fn engines(count: usize) -> Vec<Engine> {
    let mut engines = Vec::new();
    for _ in 0..count {
        engines.push(Engine::start(Manner::Whole(page(0, 0))).await);
    }
    engines
}

async fn replica(engines: &[Engine], meeting: &Meeting, number: usize) -> Replica {
    replica_of(engines, meeting.part(number)).await
}

async fn replica_of(engines: &[Engine], part: ReplicationSettings) -> Replica {
    configured(engines, Config { replication: Some(part), ..Config::scoring() }).await
}

async fn configured(engines: &[Engine], config: Config) -> Replica {
    let names: Vec<String> = engines.iter().map(Engine::name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let interval = Duration::from_millis(50);
    Replica::start(Config { interval, ..config }, &names).await
}

/// Replicas that have all met.
async fn replication(engines: &[Engine], meeting: &Meeting, count: usize) -> Vec<Replica> {
    let mut replication = Vec::new();
    for number in 0..count {
        replication.push(replica(engines, meeting, number).await);
    }
    for replica in &replication {
        replica.until_metric("murmuration_peers ", count as u64 - 1).await;
    }
    replication
}

/// Where a request goes, which then is answered in full: one that is given up leaves no prefix behind.
async fn chosen(replica: &Replica, body: &[u8]) -> String {
    chosen_for(replica, &[], body).await
}

async fn chosen_for(replica: &Replica, headers: &[(&str, &str)], body: &[u8]) -> String {
    let mut talk = replica.talk();
    let (head, _) = talk.ask(post(headers), body).await;
    talk.send(json()).await;
    talk.answer().await;
    talk.send(response_body(b"{}", true)).await;
    talk.answer().await;
    destination(&head)
}

/// Every replica believes every engine's load.
async fn all_is_known(replication: &[Replica], engines: &[Engine]) {
    for replica in replication {
        for engine in engines {
            replica.until_endpoint(engine.address, |endpoint| endpoint.trust == Trust::Exact).await;
        }
    }
}

async fn a_prefix_is_found_by_all(meeting: Meeting) {
    let engines = engines(4).await;
    let replication = replication(&engines, &meeting, 3).await;
    for (number, topic) in ["starlings", "herring", "locusts", "gnus", "ants", "bees"].iter().enumerate() {
        let body = prompt(topic);
        let first = chosen(&replication[number % 3], &body).await;
        let address = first.parse().unwrap();
        let held = replication[number % 3].endpoint(address).await.index_blocks;
        for replica in &replication {
            replica.until_endpoint(address, |endpoint| endpoint.index_blocks >= held).await;
            assert_eq!(chosen(replica, &body).await, first, "{topic}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_that_one_placed_all_find() {
    a_prefix_is_found_by_all(Meeting::new(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_streams_a_prefix_that_one_placed_all_find() {
    a_prefix_is_found_by_all(Meeting::new(3).without_streams()).await;
}

/// Nobody gave them a salt: each drew one of its own, and all hash under one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_without_a_salt_agree_on_one() {
    let (engines, meeting) = (engines(4).await, Meeting::new(3));
    let mut replication = Vec::new();
    for number in 0..3 {
        let (part, salt) = (Some(meeting.part(number)), PromptSalt::Agreed(1 + number as u128));
        replication.push(configured(&engines, Config { replication: part, salt, ..Config::scoring() }).await);
    }
    for (number, topic) in ["starlings", "herring", "locusts", "gnus", "ants", "bees"].iter().enumerate() {
        let body = prompt(topic);
        let first = chosen(&replication[number % 3], &body).await;
        let address = first.parse().unwrap();
        let held = replication[number % 3].endpoint(address).await.index_blocks;
        for replica in &replication {
            replica.until_endpoint(address, |endpoint| endpoint.index_blocks >= held).await;
            assert_eq!(chosen(replica, &body).await, first, "{topic}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_engine_has_one_keeper_and_everybody_knows_its_load() {
    let engines = engines(6).await;
    let replication = replication(&engines, &Meeting::new(3), 3).await;
    all_is_known(&replication, &engines).await;
    let kept = || replication.iter().map(|replica| replica.metric("murmuration_endpoints_kept ")).sum::<u64>();
    // The last to join may still be telling the others.
    for _ in 0..200 {
        if kept() == 6 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(kept(), 6);
    engines[0].behave(Manner::Whole(page(7, 3)));
    for replica in &replication {
        let wanted = |waiting: u32| waiting == 7;
        replica.until_endpoint(engines[0].address, |e| e.report.as_ref().is_some_and(|r| wanted(r.waiting))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_replicas_work_is_void_and_its_engines_find_another_keeper() {
    let engines = engines(6).await;
    let mut replication = replication(&engines, &Meeting::new(3), 3).await;
    let body = prompt("starlings");
    let mut talk = replication[0].talk();
    let (head, _) = talk.ask(post(&[]), &body).await;
    let address = destination(&head).parse().unwrap();
    for replica in &replication[1..] {
        replica.until_endpoint(address, |endpoint| endpoint.foreign.requests == 1).await;
    }
    drop(replication.remove(0));
    for replica in &replication {
        replica.until_endpoint(address, |endpoint| endpoint.foreign.requests == 0).await;
        replica.until_metric("murmuration_peers_lost_total", 1).await;
    }
    engines.iter().for_each(|engine| engine.behave(Manner::Whole(page(5, 1))));
    for engine in &engines {
        for replica in &replication {
            let known = |waiting: u32| waiting == 5;
            replica.until_endpoint(engine.address, |e| e.report.as_ref().is_some_and(|r| known(r.waiting))).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_joins_is_ready_with_what_the_others_know() {
    let engines = engines(4).await;
    let meeting = Meeting::new(3);
    let mut replication = replication(&engines, &meeting, 2).await;
    let body = prompt("herring");
    let first = chosen(&replication[0], &body).await;
    replication[1].until_endpoint(first.parse().unwrap(), |endpoint| endpoint.index_blocks > 0).await;
    // What the dead had placed is told by the living.
    drop(replication.remove(0));
    replication[0].until_metric("murmuration_peers_lost_total", 1).await;
    let joiner = replica(&engines, &meeting, 2).await;
    joiner.until_endpoint(first.parse().unwrap(), |endpoint| endpoint.index_blocks > 0).await;
    assert_eq!(chosen(&joiner, &body).await, first);
}

async fn a_session_stays(meeting: Meeting) {
    let engines = engines(4).await;
    let mut replication = Vec::new();
    for number in 0..3 {
        let config = Config { sessions: true, replication: Some(meeting.part(number)), ..Config::scoring() };
        replication.push(configured(&engines, config).await);
    }
    for replica in &replication {
        replica.until_metric("murmuration_peers ", 2).await;
    }
    let mut free = 0;
    for (number, session) in ["one", "two", "three", "four"].into_iter().enumerate() {
        let named = [("x-session-id", session)];
        let first = chosen_for(&replication[number % 3], &named, &prompt(session)).await;
        for replica in &replication {
            replica.until_sessions(number + 1).await;
            let other = prompt(&format!("nothing like {session}"));
            assert_eq!(chosen_for(replica, &named, &other).await, first, "{session}");
            free += usize::from(chosen(replica, &prompt(&format!("{session} to anybody"))).await != first);
        }
    }
    assert!(free > 0, "without a session a request may go elsewhere");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_one_bound_all_follow() {
    a_session_stays(Meeting::new(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_streams_a_session_that_one_bound_all_follow() {
    a_session_stays(Meeting::new(3).without_streams()).await;
}

async fn two_wire_versions(meeting: Meeting) {
    let engines = engines(2).await;
    let mut replication = replication(&engines, &meeting, 2).await;
    let part = ReplicationSettings { wire_version_max: 1, ..meeting.part(2) };
    replication.push(replica_of(&engines, part).await);
    for replica in &replication {
        replica.until_metric("murmuration_peers ", 2).await;
    }
    let body = prompt("starlings");
    for (asked, tells) in [(0, true), (2, false)] {
        let mut talk = replication[asked].talk();
        let (head, _) = talk.ask(post(&[]), &body).await;
        let address = destination(&head).parse().unwrap();
        for (number, replica) in replication.iter().enumerate().filter(|(number, _)| *number != asked) {
            let heard = replica.until_endpoint(address, |endpoint| endpoint.foreign.requests == 1).await;
            assert_eq!(heard.foreign.decode_tokens > 0, tells && number != 2, "{number} of {asked}");
        }
        talk.send(json()).await;
        talk.answer().await;
        talk.send(response_body(b"{}", true)).await;
        talk.answer().await;
        for replica in replication.iter() {
            replica.until_endpoint(address, |endpoint| endpoint.foreign.requests == 0).await;
        }
    }
    replication[2].until_metric("murmuration_peer_ignored_total{reason=\"unknown-kind\"}", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_wire_versions_share_a_tier() {
    two_wire_versions(Meeting::new(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_streams_two_wire_versions_share_a_tier() {
    two_wire_versions(Meeting::new(3).without_streams()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_leaves_in_order_is_not_waited_for() {
    let engines = engines(2).await;
    let mut replication = replication(&engines, &Meeting::new(2), 2).await;
    replication.remove(0).drain().await;
    replication[0].until_metric("murmuration_peers_lost_total", 1).await;
    all_is_known(&replication, &engines).await;
}
