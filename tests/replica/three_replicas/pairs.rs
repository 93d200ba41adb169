//! Pairs of a decode and a prefill endpoint: the same from every replica, and known to all.

use std::time::Duration;

use murmuration_proto::names;

use murmuration_kit::ext_proc::expect::{destination, json, post, response_body, value};
use murmuration_kit::{Config, Engine, Replica, Tier};

fn prompt(topic: &str) -> Vec<u8> {
    let text = format!("{topic} ").repeat(1_000);
    format!(r#"{{"model": "tiny", "prompt": "{text}", "max_tokens": 4}}"#).into_bytes()
}

/// Three replicas over four engines: the first two decode, the others prefill.
async fn tier() -> (Vec<Engine>, Vec<Replica>) {
    let (tier, engines, mut replicas) = (Tier::new(3), Engine::several(4, 0, 0).await, Vec::new());
    let pool: Vec<String> = engines
        .iter()
        .enumerate()
        .map(|(i, engine)| format!("{}@{}", engine.name(), if i < 2 { "decode" } else { "prefill" }))
        .collect();
    let pool: Vec<&str> = pool.iter().map(String::as_str).collect();
    for number in 0..3 {
        let replication = Some(tier.settings(number));
        let config = Config { pairs: true, replication, interval: Duration::from_millis(50), ..Config::default() };
        replicas.push(Replica::start(config, &pool).await);
    }
    for replica in &replicas {
        replica.until_metric("murmuration_peers ", 2).await;
    }
    (engines, replicas)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_shares_of_a_pair_are_known_to_all_and_each_ends_in_its_time() {
    let (_engines, replicas) = tier().await;
    let mut stream = replicas[0].open_stream();
    let (head, _) = stream.ask(post(&[]), &prompt("starlings")).await;
    let (decode, prefill) = (destination(&head).parse().unwrap(), value(&head, names::PREFILLER[0]).unwrap());
    let prefill = prefill.parse().unwrap();
    for replica in &replicas[1..] {
        let share = replica.until_endpoint(prefill, |endpoint| endpoint.foreign.requests == 1).await;
        assert!(share.foreign.prefill_tokens > 1_000, "{:?}", share.foreign);
        let share = replica.until_endpoint(decode, |endpoint| endpoint.foreign.requests == 1).await;
        assert_eq!(share.foreign.prefill_tokens, 0, "the prompt is computed elsewhere");
    }
    stream.send(json()).await;
    stream.answer().await;
    stream.send(response_body(b"{", false)).await;
    stream.answer().await;
    for replica in &replicas[1..] {
        replica.until_endpoint(prefill, |endpoint| endpoint.foreign.requests == 0).await;
        replica.until_endpoint(decode, |endpoint| endpoint.foreign.requests == 1).await;
    }
    stream.send(response_body(b"}", true)).await;
    stream.answer().await;
    for replica in &replicas[1..] {
        replica.until_endpoint(decode, |endpoint| endpoint.foreign.requests == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_replica_placed_on_a_pair_is_found_by_all() {
    let (_engines, replicas) = tier().await;
    for (number, topic) in ["starlings", "herring", "locusts", "gnus"].iter().enumerate() {
        let body = prompt(topic);
        let mut stream = replicas[number % 3].open_stream();
        let (head, _) = stream.ask(post(&[]), &body).await;
        let decode = destination(&head);
        assert!(value(&head, names::PREFILLER[0]).is_some(), "nobody holds it yet");
        stream.send(json()).await;
        stream.answer().await;
        stream.send(response_body(b"{}", true)).await;
        stream.answer().await;
        let address = decode.parse().unwrap();
        let held = replicas[number % 3].endpoint(address).await.index_blocks;
        for replica in &replicas {
            replica
                .until_endpoint(address, |endpoint| endpoint.index_blocks >= held && endpoint.foreign.requests == 0)
                .await;
            let (head, _) = replica.open_stream().ask(post(&[]), &body).await;
            assert_eq!(destination(&head), decode, "{topic}");
            assert_eq!(value(&head, names::PREFILLER[0]), None, "the decode endpoint has the blocks now");
        }
    }
}
