//! Tests of engines in this process, called over loopback.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod ends;
mod hand_off;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use murmuration::dialect::engine::EngineSpec;
use murmuration::dialect::metrics_page::read_page;
use murmuration_kit::client::{Answer, Client, EventStream};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::EngineConfig;

const COMPLETIONS: &str = "/v1/completions";
const CHAT: &str = "/v1/chat/completions";

/// An engine whose steps take almost no time.
fn quick() -> EngineConfig {
    let (step_base, step_per_seq) = (Duration::from_micros(50), Duration::ZERO);
    let adapters = vec!["lora-a".to_owned()];
    EngineConfig { name: "engine-7".to_owned(), adapters, step_base, step_per_seq, ..EngineConfig::default() }
}

/// An engine whose steps take longer than any test.
fn stuck() -> EngineConfig {
    EngineConfig { step_base: Duration::from_secs(3600), max_num_seqs: 1, ..quick() }
}

/// Sends a POST of `body` and waits for the answer's head. Dropping the stream closes its connection.
async fn begin(address: SocketAddr, path: &str, body: &str) -> EventStream<'static> {
    // A stream borrows its client; a test has few of them.
    let client = Box::leak(Box::new(Client::new(address)));
    client.stream(path, body.to_owned(), &[("x-request-id", "req-1")]).await.unwrap()
}

/// Sends a POST of `body` and waits for all of the answer.
async fn post(address: SocketAddr, path: &str, body: &str) -> Answer {
    begin(address, path, body).await.collect().await.unwrap()
}

/// Sends a GET and waits for all of the answer.
async fn get(address: SocketAddr, path: &str) -> Answer {
    Client::new(address).get(path).await.unwrap()
}

fn json_of(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

/// The events of a stream; the client has checked that it has its end.
fn events_of(answer: &Answer) -> Vec<Value> {
    answer.events.iter().map(|event| json_of(event.as_bytes())).collect()
}

async fn start(config: EngineConfig) -> EngineServer {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    serve(listener, config).unwrap()
}

#[tokio::test]
async fn a_chat_is_answered_with_usage_and_the_engines_name() {
    let engine = start(quick()).await;
    let body = r#"{"model":"tiny","messages":[{"role":"user","content":"hello"}],"max_tokens":3}"#;
    let response = post(engine.address(), CHAT, body).await;
    assert_eq!((response.status.as_u16(), response.header("x-inference-pod").unwrap()), (200, "engine-7"));
    assert_eq!(response.headers["server"], "uvicorn");
    assert_eq!(response.headers["content-type"], "application/json");
    let answer = json_of(&response.body);
    assert_eq!((&answer["id"], &answer["model"]), (&json!("chatcmpl-req-1"), &json!("tiny")));
    let choice = &answer["choices"][0];
    assert_eq!(
        (&choice["finish_reason"], choice["message"]["content"].as_str().unwrap().len()),
        (&json!("length"), 12)
    );
    assert_eq!(answer["usage"]["completion_tokens"], 3);
    engine.stop().await;
}

#[tokio::test]
async fn every_engine_gives_the_same_answer_to_the_same_prompt() {
    let (one, other) = (start(quick()).await, start(EngineConfig { name: "b".to_owned(), ..quick() }).await);
    let body = r#"{"model":"tiny","prompt":"once upon a time","max_tokens":20}"#;
    let texts = [post(one.address(), COMPLETIONS, body).await, post(other.address(), COMPLETIONS, body).await];
    let texts = texts.map(|response| json_of(&response.body)["choices"][0]["text"].clone());
    assert_eq!(texts[0], texts[1]);
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn the_last_chunk_of_a_stream_has_usage_when_asked_for() {
    let engine = start(quick()).await;
    let ask = |options: &str| {
        format!(
            r#"{{"model":"tiny","messages":[{{"role":"user","content":"hi"}}],"max_tokens":5,"stream":true{options}}}"#
        )
    };
    let with = post(engine.address(), CHAT, &ask(r#","stream_options":{"include_usage":true}"#)).await;
    assert_eq!(with.headers["content-type"], "text/event-stream; charset=utf-8");
    let events = events_of(&with);
    assert_eq!(events[0]["choices"][0]["delta"], json!({ "role": "assistant", "content": "" }));
    assert_eq!(events[5]["choices"][0]["finish_reason"], "length");
    let last = events.last().unwrap();
    assert_eq!((events.len(), &last["choices"], &last["usage"]["completion_tokens"]), (7, &json!([]), &json!(5)));
    let without = events_of(&post(engine.address(), CHAT, &ask("")).await);
    assert!(without.len() == 6 && without.iter().all(|event| event.get("usage").is_none()));
    engine.stop().await;
}

#[tokio::test]
async fn a_repeated_prompt_is_cached() {
    let engine = start(quick()).await;
    // 1000 bytes are 250 tokens; the last of them is always computed: 15 blocks of 16.
    let text = "0123456789".repeat(100);
    let ask = json!({ "model": "tiny", "prompt": text, "max_tokens": 2 }).to_string();
    let mut cached = Vec::new();
    for _ in 0..2 {
        let usage = json_of(&post(engine.address(), COMPLETIONS, &ask).await.body)["usage"].clone();
        assert_eq!(usage["prompt_tokens"], 250);
        cached.push(usage["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap());
    }
    assert_eq!(cached, [0, 240]);
    // An adapter computes other values for the same text.
    let ask = json!({ "model": "lora-a", "prompt": text, "max_tokens": 2 }).to_string();
    let answer = json_of(&post(engine.address(), COMPLETIONS, &ask).await.body);
    assert_eq!(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
    assert_eq!(answer["model"], "lora-a");
    engine.stop().await;
}

#[tokio::test]
async fn an_answer_is_cached_when_it_comes_back_with_the_next_turn() {
    let engine = start(quick()).await;
    let first = json!([{ "role": "user", "content": "0123456789abcdef".repeat(16) }]);
    let ask = |messages| json!({ "model": "tiny", "messages": messages, "max_tokens": 64 }).to_string();
    let answer = json_of(&post(engine.address(), CHAT, &ask(first.clone())).await.body);
    let text = answer["choices"][0]["message"]["content"].clone();
    let mut next = first.as_array().unwrap().clone();
    next.extend([json!({ "role": "assistant", "content": text }), json!({ "role": "user", "content": "go on" })]);
    let usage = json_of(&post(engine.address(), CHAT, &ask(json!(next))).await.body)["usage"].clone();
    let before = answer["usage"]["total_tokens"].as_u64().unwrap();
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap(), before / 16 * 16);
    engine.stop().await;
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_as_by_a_real_engine() {
    let engine = start(EngineConfig { max_model_len: 100, ..quick() }).await;
    let long = json!({ "model": "tiny", "prompt": "x".repeat(4000) }).to_string();
    let cases = [
        (r#"{"model":"nope","prompt":"x"}"#, 404, "NotFoundError"),
        (r#"{"model":"tiny","prompt":"#, 400, "Bad Request"),
        (long.as_str(), 400, "BadRequestError"),
    ];
    for (body, status, kind) in cases {
        let response = post(engine.address(), COMPLETIONS, body).await;
        let error = &json_of(&response.body)["error"];
        assert_eq!((response.status.as_u16(), &error["type"], &error["code"]), (status, &json!(kind), &json!(status)));
        assert_eq!(response.headers["x-inference-pod"], "engine-7");
    }
    let response = [get(engine.address(), "/v1/nope").await, get(engine.address(), COMPLETIONS).await];
    assert_eq!(
        response.map(|response| (response.status.as_u16(), response.body.to_vec())),
        [(404, br#"{"detail":"Not Found"}"#.to_vec()), (405, br#"{"detail":"Method Not Allowed"}"#.to_vec())]
    );
    engine.stop().await;
}

#[tokio::test]
async fn models_health_and_version_are_served() {
    let engine = start(quick()).await;
    let models = json_of(&get(engine.address(), "/v1/models").await.body);
    let card = |i: usize| (models["data"][i]["id"].clone(), models["data"][i]["parent"].clone());
    assert_eq!([card(0), card(1)], [(json!("tiny"), json!(null)), (json!("lora-a"), json!("tiny"))]);
    let health = get(engine.address(), "/health").await;
    assert_eq!((health.status.as_u16(), health.body.len()), (200, 0));
    assert_eq!(json_of(&get(engine.address(), "/version").await.body), json!({ "version": "0.32.0" }));
    engine.stop().await;
}

#[tokio::test]
async fn a_replica_reads_the_page_like_that_of_a_real_engine() {
    let engine = start(EngineConfig { max_num_seqs: 1, ..stuck() }).await;
    let ask = r#"{"model":"lora-a","prompt":"x","stream":true}"#;
    let _running = begin(engine.address(), COMPLETIONS, ask).await;
    let _waiting = begin(engine.address(), COMPLETIONS, ask).await;
    let page = get(engine.address(), "/metrics").await;
    assert_eq!(page.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let report = read_page(&page.body, &EngineSpec::vllm()).unwrap();
    assert_eq!((report.running, report.waiting, report.awake), (1, 1, true));
    let cache = report.cache.unwrap();
    assert_eq!((cache.block_tokens, cache.blocks), (16, 16_384));
    assert!(
        String::from_utf8_lossy(&page.body)
            .contains(r#"running_lora_adapters="lora-a",waiting_lora_adapters="lora-a"} "#)
    );
    engine.stop().await;
}
