//! `mooncake` and `sglang`: both legs at once, and neither waits for one that failed.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use murmuration_actors::sidecar::{KvConnector, LegTls, OnPrefillFailure, SidecarSettings};
use murmuration_kit::leg_engine::{LegEngine, Received, Reply};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use crate::harness::{Running, settings};

const BODY: &str = r#"{"prompt":"x","max_tokens":16}"#;
const ENGINES: &str = r#"{"0":{"engine_id":"e0","worker_addr":{}}}"#;

fn sglang(decoder: &LegEngine) -> SidecarSettings {
    SidecarSettings { kv_connector: KvConnector::Sglang, ..settings(decoder) }
}

/// `bootstrap` lists the engines.
fn mooncake(decoder: &LegEngine, bootstrap: &LegEngine) -> SidecarSettings {
    let mooncake_port = bootstrap.address.port();
    SidecarSettings { kv_connector: KvConnector::Mooncake, mooncake_port, ..settings(decoder) }
}

/// An engine that answers its first request when told to.
async fn told(then: Reply) -> (LegEngine, oneshot::Sender<()>) {
    let (tell, told) = oneshot::channel();
    let reply = Mutex::new(Some(Reply::After(told, Box::new(then))));
    (LegEngine::start(move |_: &Received| reply.lock().unwrap().take().unwrap_or(Reply::Never)).await, tell)
}

#[tokio::test]
async fn both_legs_of_mooncake_run_at_once_under_one_transfer() {
    let (prefiller, tell) = told(Reply::json("{}")).await;
    let (decoder, bootstrap) = (LegEngine::answering(r#"{"id":"d"}"#).await, LegEngine::answering(ENGINES).await);
    let sidecar = Running::start(mooncake(&decoder, &bootstrap)).await;
    let client = sidecar.begin_complete(&[&prefiller], BODY).await;
    prefiller.has_received(1).await;
    decoder.has_received(1).await;
    tell.send(()).unwrap();
    assert_eq!(client.answer().await.body, r#"{"id":"d"}"#);
    let (first, second) = (prefiller.only(), decoder.only());
    let transfer = first.json()["kv_transfer_params"]["transfer_id"].as_str().unwrap().to_owned();
    assert!(transfer.starts_with("xfer-"));
    assert_eq!(
        first.json(),
        json!({ "prompt": "x", "max_tokens": 1, "stream": false, "kv_transfer_params":
            { "do_remote_decode": true, "do_remote_prefill": false, "transfer_id": transfer } })
    );
    let bootstrap_at = format!("http://127.0.0.1:{}", bootstrap.address.port());
    assert_eq!(
        second.json(),
        json!({ "prompt": "x", "max_tokens": 16, "kv_transfer_params": { "do_remote_decode": false,
            "do_remote_prefill": true, "transfer_id": transfer, "remote_bootstrap_addr": bootstrap_at, "remote_engine_id": "e0" } })
    );
    assert_eq!((first.header("x-data-parallel-rank"), second.header("x-data-parallel-rank")), (Some("0"), None));
    assert_eq!(bootstrap.only().path, "/query");
}

#[tokio::test]
async fn both_legs_of_sglang_meet_in_one_room() {
    let (prefiller, decoder) = (LegEngine::answering("{}").await, LegEngine::answering(r#"{"id":"d"}"#).await);
    let sidecar = Running::start(sglang(&decoder)).await;
    assert_eq!(sidecar.complete(&[&prefiller], BODY).await.body, r#"{"id":"d"}"#);
    let (first, second) = (prefiller.only(), decoder.only());
    assert_eq!(first.body, second.body);
    let body = first.json();
    assert_eq!((&body["bootstrap_host"], &body["bootstrap_port"]), (&json!("127.0.0.1"), &json!(8998)));
    assert!(body["bootstrap_room"].as_u64().is_some_and(|room| room > 0 && i64::try_from(room).is_ok()));
    assert_eq!(body["max_tokens"], 16);
}

#[tokio::test]
async fn a_prefill_that_fails_cancels_the_decode_leg_that_waits_for_it() {
    for (on_prefill_failure, status) in [(OnPrefillFailure::Error, 500), (OnPrefillFailure::Decode, 200)] {
        let (prefiller, tell) = told(Reply::error(500)).await;
        // A decode engine waits for blocks that never come, and serves what asks for none.
        let decoder = LegEngine::start(|asked| match asked.json().get("kv_transfer_params") {
            Some(_) => Reply::Never,
            None => Reply::json(r#"{"id":"alone"}"#),
        })
        .await;
        let bootstrap = LegEngine::answering(ENGINES).await;
        let with = SidecarSettings { on_prefill_failure, ..mooncake(&decoder, &bootstrap) };
        let sidecar = Running::start(with).await;
        let client = sidecar.begin_complete(&[&prefiller], BODY).await;
        decoder.has_received(1).await;
        tell.send(()).unwrap();
        assert_eq!(client.answer().await.status, status);
        decoder.was_left(1).await;
    }
}

#[tokio::test]
async fn a_failed_prefill_leg_of_sglang_is_an_error_whatever_is_configured() {
    let prefiller = LegEngine::start(|_| Reply::error(503)).await;
    let decoder = LegEngine::start(|_| Reply::Never).await;
    let sidecar =
        Running::start(SidecarSettings { on_prefill_failure: OnPrefillFailure::Decode, ..sglang(&decoder) }).await;
    assert_eq!(sidecar.complete(&[&prefiller], BODY).await.status, 503, "its decode engines compute no prompts");
}

#[tokio::test]
async fn a_decode_leg_that_fails_cancels_its_prefill_leg() {
    let prefiller = LegEngine::start(|_| Reply::Never).await;
    let decoder = LegEngine::start(|_| Reply::error(503)).await;
    let sidecar = Running::start(sglang(&decoder)).await;
    assert_eq!(sidecar.complete(&[&prefiller], BODY).await.status, 503);
    prefiller.was_left(1).await;
    sidecar.reports("a cancelled leg", |_| sidecar.legs().contains(&("prefill", "cancelled"))).await;
}

#[tokio::test]
async fn comments_of_a_stream_do_not_begin_an_answer_that_may_still_fail() {
    let (prefiller, tell) = told(Reply::error(500)).await;
    let (events, sent) = mpsc::unbounded_channel();
    let sent = Mutex::new(Some(sent));
    let decoder = LegEngine::start(move |_| Reply::Events(sent.lock().unwrap().take().unwrap())).await;
    let sidecar = Running::start(sglang(&decoder)).await;
    let client = sidecar.begin_complete(&[&prefiller], BODY).await;
    decoder.has_received(1).await;
    events.send(": keep-alive\n\n".to_owned()).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    tell.send(()).unwrap();
    assert_eq!(client.answer().await.status, 500, "a status that would have been 200");
}

#[tokio::test]
async fn an_answer_in_one_piece_keeps_every_byte_and_begins_with_any() {
    let (prefiller, tell) = told(Reply::json("{}")).await;
    let (pieces, sent) = mpsc::unbounded_channel();
    let sent = Mutex::new(Some(sent));
    let decoder = LegEngine::start(move |_| {
        let headers = vec![("content-type", "application/json")];
        Reply::Pieces(headers, sent.lock().unwrap().take().unwrap())
    })
    .await;
    let sidecar = Running::start(sglang(&decoder)).await;
    let mut client = sidecar.begin_complete(&[&prefiller], BODY).await;
    // In a stream of events these would say nothing.
    pieces.send("\n".to_owned()).unwrap();
    client.until("200 OK").await;
    tell.send(()).unwrap();
    pieces.send(r#"{"id":"d"}"#.to_owned()).unwrap();
    drop(pieces);
    assert_eq!(client.answer().await.body, "\n{\"id\":\"d\"}");
}

#[tokio::test]
async fn data_of_a_decode_engine_that_needs_no_blocks_is_passed_on_at_once() {
    let prefiller = LegEngine::start(|_| Reply::Never).await;
    let (events, sent) = mpsc::unbounded_channel();
    let sent = Mutex::new(Some(sent));
    let decoder = LegEngine::start(move |_| Reply::Events(sent.lock().unwrap().take().unwrap())).await;
    let sidecar = Running::start(sglang(&decoder)).await;
    let mut client = sidecar.begin_complete(&[&prefiller], BODY).await;
    events.send("data: a\n\n".to_owned()).unwrap();
    client.until("data: a\n\n").await;
    assert_eq!(prefiller.abandoned(), 0, "a prefill engine that is about to answer is not cut off");
    events.send("data: b\n\n".to_owned()).unwrap();
    drop(events);
    assert_eq!(client.answer().await.body, "data: a\n\ndata: b\n\n");
    prefiller.was_left(1).await;
}

#[tokio::test]
async fn a_decode_engine_that_breaks_off_is_an_error_and_not_an_empty_answer() {
    let (decoder, prefiller) = (LegEngine::start(|_| Reply::Break).await, LegEngine::start(|_| Reply::Never).await);
    let sidecar = Running::start(sglang(&decoder)).await;
    assert_eq!(sidecar.complete(&[&prefiller], BODY).await.status, 502);
    prefiller.was_left(1).await;
}

#[tokio::test]
async fn a_restarted_prefill_engine_is_asked_under_its_new_id() {
    let asked = AtomicUsize::new(0);
    let bootstrap = LegEngine::start(move |_| {
        let id = format!("e{}", asked.fetch_add(1, Ordering::Relaxed));
        Reply::json(json!({ "0": { "engine_id": id } }).to_string())
    })
    .await;
    let (prefiller, decoder) = (LegEngine::answering("{}").await, LegEngine::answering("{}").await);
    let sidecar = Running::start(mooncake(&decoder, &bootstrap)).await;
    for expected in ["e0", "e1"] {
        assert_eq!(sidecar.complete(&[&prefiller], BODY).await.status, 200);
        let told = decoder.received().pop().unwrap().json();
        assert_eq!(
            told["kv_transfer_params"]["remote_engine_id"], expected,
            "a former id would be waited for for ever"
        );
    }
}

#[tokio::test]
async fn a_bootstrap_server_that_is_not_there_is_a_prefill_that_failed() {
    let bootstrap = LegEngine::answering("{}").await;
    let (prefiller, decoder) = (LegEngine::answering("{}").await, LegEngine::answering("{}").await);
    let sidecar = Running::start(mooncake(&decoder, &bootstrap)).await;
    let got = sidecar.complete(&[&prefiller], BODY).await;
    assert_eq!((got.status, got.message().contains("--mooncake-bootstrap-port")), (502, true), "{}", got.body);
    assert!(prefiller.received().is_empty() && decoder.received().is_empty());
}

#[tokio::test]
async fn a_bootstrap_server_is_asked_in_plain_text_though_prefill_legs_are_encrypted() {
    let (prefiller, decoder) = (LegEngine::answering("{}").await, LegEngine::answering("{}").await);
    let bootstrap = LegEngine::answering(ENGINES).await;
    let legs = [LegTls::Unverified, LegTls::Off, LegTls::Off];
    let sidecar = Running::start(SidecarSettings { legs, ..mooncake(&decoder, &bootstrap) }).await;
    assert_eq!(sidecar.complete(&[&prefiller], BODY).await.status, 502, "the prefill engine speaks no TLS");
    assert_eq!(bootstrap.only().path, "/query");
    assert!(prefiller.received().is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_cancels_both_legs() {
    let (prefiller, decoder) = (LegEngine::start(|_| Reply::Never).await, LegEngine::start(|_| Reply::Never).await);
    let sidecar = Running::start(sglang(&decoder)).await;
    let client = sidecar.begin_complete(&[&prefiller], BODY).await;
    prefiller.has_received(1).await;
    decoder.has_received(1).await;
    drop(client);
    prefiller.was_left(1).await;
    decoder.was_left(1).await;
}
