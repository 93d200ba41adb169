//! Hand-offs between two engines, over their HTTP servers and side channels.

use std::path::PathBuf;

use super::*;
use crate::hand_off::{HandOff, OnLoadFailure, Role};

fn hand_off(role: Role) -> HandOff {
    HandOff { handshake: Duration::from_millis(200), ..HandOff::of(role) }
}

async fn start_as(hand_off: HandOff, config: EngineConfig) -> EngineServer {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let side = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    serve_in_tier(listener, config, hand_off, side).unwrap()
}

/// The recorded legs of a chat that a real vLLM 0.32.0 handed over.
fn recorded() -> Value {
    serde_json::from_str(include_str!("../../../../../tests/fixtures/vllm/pd-nixl/exchange-chat.json")).unwrap()
}

/// A completion of `prompt`, with these parameters.
fn completion(prompt: &str, max_tokens: usize, kv: Value) -> String {
    json!({ "model": "tiny", "prompt": prompt, "max_tokens": max_tokens, "kv_transfer_params": kv }).to_string()
}

fn long(seed: &str) -> String {
    seed.repeat(160 / seed.len())
}

/// What the prefill engine answers to a prompt: the parameters for the decode engine.
async fn prefilled(engine: &EngineServer, prompt: &str) -> Value {
    let answer = post(engine.address(), COMPLETIONS, &completion(prompt, 1, json!({ "do_remote_decode": true }))).await;
    json_of(&answer.body)["kv_transfer_params"].clone()
}

/// The text that an engine answers with.
async fn text(engine: &EngineServer, prompt: &str, kv: Value) -> Value {
    let answer = post(engine.address(), COMPLETIONS, &completion(prompt, 8, kv)).await;
    assert_eq!(answer.status, 200);
    json_of(&answer.body)["choices"][0]["text"].clone()
}

async fn counter(engine: &EngineServer, line: &str) -> f64 {
    let page = get(engine.address(), "/metrics").await;
    murmuration_kit::metrics::sum_of_lines(&String::from_utf8_lossy(&page.body), line)
}

fn keys(object: &Value) -> Vec<&String> {
    object.as_object().unwrap().keys().collect()
}

#[tokio::test]
async fn the_recorded_legs_get_answers_of_the_recorded_form() {
    let (prefill, decode) =
        (start_as(hand_off(Role::Prefill), quick()).await, start_as(hand_off(Role::Decode), quick()).await);
    let mut exchange = recorded();
    let leg = post(prefill.address(), CHAT, &exchange["leg1"]["request"].to_string()).await;
    let (leg, recorded) = (json_of(&leg.body), &exchange["leg1"]["response"]);
    assert_eq!(keys(&leg), keys(recorded));
    assert_eq!(keys(&leg["kv_transfer_params"]), keys(&recorded["kv_transfer_params"]));
    let tokens = leg["usage"]["prompt_tokens"].as_u64().unwrap();
    assert_eq!(leg["kv_transfer_params"]["remote_num_tokens"], tokens);

    exchange["leg2"]["request"]["kv_transfer_params"] = leg["kv_transfer_params"].clone();
    let answer = post(decode.address(), CHAT, &exchange["leg2"]["request"].to_string()).await;
    exchange["leg2"]["request"].as_object_mut().unwrap().remove("kv_transfer_params");
    let alone = post(start(quick()).await.address(), CHAT, &exchange["leg2"]["request"].to_string()).await;
    let (answer, alone) = (json_of(&answer.body), json_of(&alone.body));
    assert_eq!(answer["choices"], alone["choices"]);
    assert_eq!(answer["kv_transfer_params"], Value::Null);
    assert_eq!(answer["usage"]["prompt_tokens_details"]["cached_tokens"], tokens, "what was pulled counts as cached");

    let by = |source: &str| {
        format!("vllm:prompt_tokens_by_source_total{{engine=\"0\",model_name=\"tiny\",source=\"{source}\"}}")
    };
    assert_eq!(counter(&decode, &by("external_kv_transfer")).await, tokens as f64);
    assert_eq!(counter(&decode, &by("local_compute")).await, 0.0);
    assert_eq!(counter(&decode, "vllm:external_prefix_cache_hits_total").await, tokens as f64);
    assert_eq!(counter(&prefill, &by("local_compute")).await, tokens as f64);
    assert_eq!(counter(&prefill, "vllm:kv_cache_usage_perc").await, 0.0, "its blocks are free again");
    let listed = |page: Answer| json_of(&page.body)["requests"][0].clone();
    let (first, second) =
        (get(prefill.address(), "/chaos/requests").await, get(decode.address(), "/chaos/requests").await);
    assert_eq!(
        (&listed(first)["keeps"], &listed(second)["pulled_from"]),
        (&json!(true), &leg["kv_transfer_params"]["remote_engine_id"])
    );
}

#[tokio::test]
async fn blocks_are_held_until_somebody_takes_them() {
    let (prefill, decode) =
        (start_as(hand_off(Role::Both), quick()).await, start_as(hand_off(Role::Both), quick()).await);
    let params = prefilled(&prefill, &long("held ")).await;
    assert!(counter(&prefill, "vllm:kv_cache_usage_perc").await > 0.0);
    text(&decode, &long("held "), params).await;
    assert_eq!(counter(&prefill, "vllm:kv_cache_usage_perc").await, 0.0);
}

/// Recorded: "late leg2 200 same as reference: False", and the same wrong text from the cache of the decode engine.
#[tokio::test]
async fn a_hand_off_after_the_lease_gives_a_wrong_answer() {
    let few = EngineConfig { blocks: 8, ..quick() };
    let prefill = start_as(HandOff { lease: Duration::ZERO, ..hand_off(Role::Prefill) }, few).await;
    let (decode, other) = (start_as(hand_off(Role::Decode), quick()).await, start(quick()).await);
    let prompt = long("late ");
    let params = prefilled(&prefill, &prompt).await;
    for seed in ["one ", "two ", "three "] {
        prefilled(&prefill, &long(seed)).await;
    }
    let right = text(&other, &prompt, Value::Null).await;
    assert_ne!(text(&decode, &prompt, params).await, right);
    assert_ne!(text(&decode, &prompt, Value::Null).await, right, "from the cache");
}

#[tokio::test]
async fn kv_of_an_engine_that_is_gone_or_another_one_is_an_error_or_is_computed() {
    let (prompt, other) = (long("gone "), start(quick()).await);
    let prefill = start_as(hand_off(Role::Prefill), quick()).await;
    let mut params = prefilled(&prefill, &prompt).await;
    let again = start_as(hand_off(Role::Prefill), EngineConfig { name: "again".to_owned(), ..quick() }).await;
    let of_another = prefilled(&again, &prompt).await;
    let right = text(&other, &prompt, Value::Null).await;
    // The port of the first one is now that of another engine, then nobody's.
    params["remote_port"] = of_another["remote_port"].clone();
    for _ in 0..2 {
        for (policy, status) in [(OnLoadFailure::Fail, 500), (OnLoadFailure::Recompute, 200)] {
            let decode = start_as(HandOff { on_load_failure: policy, ..hand_off(Role::Decode) }, quick()).await;
            let answer = post(decode.address(), COMPLETIONS, &completion(&prompt, 8, params.clone())).await;
            assert_eq!(answer.status, status, "{policy:?}");
            assert!(status == 500 || json_of(&answer.body)["choices"][0]["text"] == right);
        }
        params["remote_port"] =
            json!(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap().port());
    }
}

#[tokio::test]
async fn an_engine_that_is_told_to_load_blocks_without_names_ends() {
    let mut decode = start_as(hand_off(Role::Decode), quick()).await;
    let params = json!({ "do_remote_prefill": true, "remote_block_ids": null });
    let answer = post(decode.address(), COMPLETIONS, &completion(&long("fatal "), 8, params)).await;
    assert_eq!(answer.status, 500);
    decode.ended().await;
}

#[tokio::test]
async fn an_engine_of_another_role_hands_nothing_over() {
    let decode = start_as(hand_off(Role::Decode), quick()).await;
    assert_eq!(prefilled(&decode, &long("role ")).await, Value::Null);
    assert_eq!(prefilled(&start(quick()).await, &long("role ")).await, Value::Null);
}

#[tokio::test]
async fn an_image_is_encoded_once_and_its_embedding_loaded_elsewhere() {
    let folder: PathBuf = std::env::temp_dir().join(format!("murmuration-encode-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let with =
        |role| HandOff { embeddings: Some(folder.clone()), encoding: Duration::from_millis(1), ..hand_off(role) };
    let (encode, prefill) = (start_as(with(Role::Encode), quick()).await, start_as(with(Role::Prefill), quick()).await);
    let image = r#"{"type":"image_url","image_url":{"url":"http://images/1"}}"#;
    let chat = format!(r#"{{"model":"tiny","messages":[{{"role":"user","content":[{image}]}}],"max_tokens":1}}"#);
    let listed = async |engine: &EngineServer| {
        assert_eq!(post(engine.address(), CHAT, &chat).await.status, 200);
        let page = json_of(&get(engine.address(), "/chaos/requests").await.body);
        let last = page["requests"].as_array().unwrap().last().unwrap().clone();
        (last["encoded"].as_u64(), last["loaded"].as_u64())
    };
    assert_eq!(listed(&prefill).await, (Some(1), Some(0)), "nobody stored it yet");
    assert_eq!(listed(&encode).await, (Some(1), Some(0)));
    assert_eq!(listed(&encode).await, (Some(0), Some(1)));
    assert_eq!(listed(&prefill).await, (Some(0), Some(1)));
    std::fs::remove_dir_all(&folder).unwrap();
}
