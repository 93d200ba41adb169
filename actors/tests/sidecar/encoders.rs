//! `ec-example` and `ec-nixl`: media are encoded before the prompt is computed.

use std::sync::atomic::{AtomicUsize, Ordering};

use murmuration_actors::sidecar::{EcConnector, SidecarSettings};
use murmuration_kit::leg_engine::{LegEngine, Reply};
use serde_json::json;

use crate::harness::{Running, settings};

const CHAT: &str = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"?"},{"type":"image_url","image_url":{"url":"a"}},{"type":"image_url","image_url":{"url":"b"}}]}]}"#;

fn of(connector: EcConnector, decoder: &LegEngine) -> SidecarSettings {
    SidecarSettings { ec_connector: Some(connector), ..settings(decoder) }
}

async fn asked(sidecar: &Running, encoders: &[&LegEngine], body: &str) -> crate::harness::Got {
    let list = encoders.iter().map(|engine| engine.name()).collect::<Vec<_>>().join(",");
    sidecar.post("/v1/chat/completions", &[("x-encoder-hosts-ports", &list), ("x-request-id", "r1")], body).await
}

#[tokio::test]
async fn every_item_is_encoded_once_and_the_decode_engine_is_told_where() {
    let count = AtomicUsize::new(0);
    let encoder = LegEngine::start(move |_| {
        let nth = count.fetch_add(1, Ordering::Relaxed);
        Reply::json(json!({ "ec_transfer_params": { format!("hash{nth}"): { "peer": nth } } }).to_string())
    })
    .await;
    let decoder = LegEngine::answering(r#"{"id":"d"}"#).await;
    let sidecar = Running::start(of(EcConnector::Nixl, &decoder)).await;
    assert_eq!(asked(&sidecar, &[&encoder], CHAT).await.body, r#"{"id":"d"}"#);
    let mut urls: Vec<String> = Vec::new();
    for leg in encoder.received() {
        let body = leg.json();
        let content = &body["messages"][0]["content"];
        assert_eq!(
            (content.as_array().unwrap().len(), &body["max_tokens"], &body["stream"]),
            (1, &json!(1), &json!(false))
        );
        urls.push(content[0]["image_url"]["url"].as_str().unwrap().to_owned());
        assert!(leg.header("x-request-id").unwrap().starts_with("r1-enc-"));
    }
    urls.sort_unstable();
    assert_eq!(urls, ["a", "b"]);
    let told = &decoder.only().json()["ec_transfer_params"];
    assert_eq!(told.as_object().unwrap().len(), 2, "{told}");
    assert!(told["hash0"]["peer"].is_u64() && told["hash1"]["peer"].is_u64());
}

#[tokio::test]
async fn with_a_shared_storage_nothing_is_told_and_items_are_spread() {
    let (one, other) = (LegEngine::answering("{}").await, LegEngine::answering("{}").await);
    let decoder = LegEngine::answering("{}").await;
    let sidecar = Running::start(of(EcConnector::Example, &decoder)).await;
    assert_eq!(asked(&sidecar, &[&one, &other], CHAT).await.status, 200);
    assert_eq!((one.received().len(), other.received().len()), (1, 1));
    assert_eq!(&decoder.only().body[..], CHAT.as_bytes());
}

#[tokio::test]
async fn an_item_that_can_not_be_encoded_is_an_error_and_cancels_the_others() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let told = std::sync::Mutex::new(Some(told));
    let failing =
        LegEngine::start(move |_| Reply::After(told.lock().unwrap().take().unwrap(), Box::new(Reply::error(500))))
            .await;
    let (silent, decoder) = (LegEngine::start(|_| Reply::Never).await, LegEngine::answering("{}").await);
    let sidecar = Running::start(of(EcConnector::Nixl, &decoder)).await;
    let list = format!("{},{}", failing.name(), silent.name());
    let client = sidecar.begin("/v1/chat/completions", &[("x-encoder-hosts-ports", &list)], CHAT).await;
    silent.has_received(1).await;
    tell.send(()).unwrap();
    let got = client.answer().await;
    assert_eq!((got.status, got.message().contains("encode engine")), (502, true), "{}", got.body);
    silent.was_left(1).await;
    assert!(decoder.received().is_empty());
}

#[tokio::test]
async fn encode_prefill_and_decode_are_three_stages_of_one_request() {
    let encoder = LegEngine::answering(r#"{"ec_transfer_params":{"h":1}}"#).await;
    let prefiller = LegEngine::answering(
        r#"{"kv_transfer_params":{"do_remote_prefill":true,"remote_block_ids":[[1]],"remote_engine_id":"e","remote_host":"h","remote_port":1}}"#,
    )
    .await;
    let decoder = LegEngine::answering("{}").await;
    let sidecar = Running::start(of(EcConnector::Nixl, &decoder)).await;
    let (encoders, prefillers) = (encoder.name(), prefiller.name());
    let headers = [("x-encoder-hosts-ports", encoders.as_str()), ("x-prefiller-host-port", prefillers.as_str())];
    assert_eq!(sidecar.post("/v1/chat/completions", &headers, CHAT).await.status, 200);
    assert_eq!(prefiller.only().json()["ec_transfer_params"], json!({ "h": 1 }));
    assert_eq!(decoder.only().json()["kv_transfer_params"]["remote_engine_id"], "e");
    let stages: Vec<&str> = sidecar.legs().iter().map(|(stage, _)| *stage).take(3).collect();
    assert_eq!(stages, ["encode", "encode", "prefill"]);
}

#[tokio::test]
async fn a_chat_without_media_and_a_sidecar_without_a_connector_encode_nothing() {
    let (encoder, decoder) = (LegEngine::answering("{}").await, LegEngine::answering("{}").await);
    let sidecar = Running::start(of(EcConnector::Nixl, &decoder)).await;
    assert_eq!(asked(&sidecar, &[&encoder], r#"{"messages":[{"role":"user","content":"x"}]}"#).await.status, 200);
    let sidecar = Running::start(settings(&decoder)).await;
    assert_eq!(asked(&sidecar, &[&encoder], CHAT).await.status, 200);
    assert!(encoder.received().is_empty());
    assert_eq!(decoder.received().len(), 2);
}
