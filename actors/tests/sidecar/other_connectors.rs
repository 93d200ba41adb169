//! `shared-storage` and `offloading`.

use murmuration_actors::sidecar::{KvConnector, OnPrefillFailure, SidecarSettings};
use murmuration_kit::leg_engine::{LegEngine, Reply};
use serde_json::json;
use tokio::sync::mpsc;

use crate::harness::{Running, settings};

fn of(connector: KvConnector, decoder: &LegEngine) -> SidecarSettings {
    SidecarSettings { kv_connector: connector, ..settings(decoder) }
}

#[tokio::test]
async fn with_a_shared_storage_the_decode_leg_is_the_request_itself() {
    let (prefiller, decoder) = (LegEngine::answering("{}").await, LegEngine::answering(r#"{"id":"d"}"#).await);
    let sidecar = Running::start(of(KvConnector::SharedStorage, &decoder)).await;
    let body = r#"{"prompt":["a","b"],"max_tokens":16}"#;
    assert_eq!(sidecar.complete(&[&prefiller], body).await.body, r#"{"id":"d"}"#);
    assert_eq!(prefiller.only().json(), json!({ "prompt": ["a", "b"], "max_tokens": 1, "stream": false }));
    assert_eq!(&decoder.only().body[..], body.as_bytes());
}

#[tokio::test]
async fn a_request_with_a_threshold_is_tried_at_the_decode_engine_first() {
    for stream in [false, true] {
        let decoder = LegEngine::start(move |asked| {
            let refuses = asked.json()["cache_hit_threshold"] != 0;
            let answer = format!(
                r#"{{"choices":[{{"finish_reason":{}}}]}}"#,
                if refuses { "\"cache_threshold\"" } else { "null" }
            );
            if !stream {
                return Reply::json(answer);
            }
            let (events, sent) = mpsc::unbounded_channel();
            events.send(format!("data: {answer}\n\n")).unwrap();
            Reply::Events(sent)
        })
        .await;
        let prefiller = LegEngine::answering("{}").await;
        let sidecar = Running::start(of(KvConnector::SharedStorage, &decoder)).await;
        let body = format!(r#"{{"prompt":"x","stream":{stream},"cache_hit_threshold":0.8}}"#);
        let got = sidecar.complete(&[&prefiller], &body).await;
        assert!(got.status == 200 && got.body.contains("null"), "{}", got.body);
        assert_eq!(prefiller.only().json()["cache_hit_threshold"], 0);
        let thresholds: Vec<_> =
            decoder.received().iter().map(|asked| asked.json()["cache_hit_threshold"].clone()).collect();
        assert_eq!(thresholds, [json!(0.8), json!(0)]);
    }
}

#[tokio::test]
async fn a_decode_engine_that_holds_enough_of_the_prompt_answers_without_a_prefill() {
    for stream in [false, true] {
        let (events, sent) = mpsc::unbounded_channel();
        let sent = std::sync::Mutex::new(Some(sent));
        let decoder = LegEngine::start(move |_| match stream {
            true => Reply::Events(sent.lock().unwrap().take().unwrap()),
            false => Reply::json(r#"{"choices":[{"finish_reason":"stop"}]}"#),
        })
        .await;
        let prefiller = LegEngine::answering("{}").await;
        let sidecar = Running::start(of(KvConnector::SharedStorage, &decoder)).await;
        let body = format!(r#"{{"prompt":"x","stream":{stream},"cache_hit_threshold":0.8}}"#);
        let mut client = sidecar.begin_complete(&[&prefiller], &body).await;
        if stream {
            events.send("data: {\"choices\":[{\"finish_reason\":null}]}\n\n".to_owned()).unwrap();
            client.until("null").await;
            events.send("data: [DONE]\n\n".to_owned()).unwrap();
        }
        drop(events);
        let got = client.answer().await;
        let end = if stream {
            "data: {\"choices\":[{\"finish_reason\":null}]}\n\ndata: [DONE]\n\n"
        } else {
            r#"{"choices":[{"finish_reason":"stop"}]}"#
        };
        assert_eq!(got.body, end);
        assert!(prefiller.received().is_empty());
    }
}

#[tokio::test]
async fn the_legs_of_an_offloading_connector_agree_on_an_id() {
    let (prefiller, decoder) = (LegEngine::answering("{}").await, LegEngine::answering(r#"{"id":"d"}"#).await);
    let sidecar = Running::start(of(KvConnector::Offloading, &decoder)).await;
    assert_eq!(sidecar.complete(&[&prefiller], r#"{"prompt":"x","max_tokens":16}"#).await.status, 200);
    let first = prefiller.only().json();
    let id = &first["kv_transfer_params"]["remote_decoder"]["kv_request_id"];
    assert_eq!(id.as_str().unwrap().len(), 36);
    let told = &decoder.only().json()["kv_transfer_params"]["remote_prefiller"];
    assert_eq!(*told, json!({ "kv_request_id": id, "remote_host": "127.0.0.1", "remote_port": 7777 }));
}

#[tokio::test]
async fn a_failed_prefill_is_an_error_or_left_to_the_decode_engine_with_every_connector() {
    for connector in [KvConnector::SharedStorage, KvConnector::Offloading] {
        let prefiller = LegEngine::start(|_| Reply::error(500)).await;
        let decoder = LegEngine::answering("{}").await;
        let sidecar = Running::start(of(connector, &decoder)).await;
        assert_eq!(sidecar.complete(&[&prefiller], r#"{"prompt":"x"}"#).await.status, 500);
        assert!(decoder.received().is_empty());
        let on_prefill_failure = OnPrefillFailure::Decode;
        let sidecar = Running::start(SidecarSettings { on_prefill_failure, ..of(connector, &decoder) }).await;
        assert_eq!(sidecar.complete(&[&prefiller], r#"{"prompt":"x"}"#).await.status, 200);
        assert_eq!(&decoder.only().body[..], br#"{"prompt":"x"}"#, "{connector:?}");
    }
}
