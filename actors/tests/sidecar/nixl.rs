//! `nixlv2`: what reaches each engine, and what happens when one fails.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use murmuration::event::SidecarEvent;
use murmuration_actors::sidecar::OnPrefillFailure;
use murmuration_kit::leg_engine::{LegEngine, Reply};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::harness::{Running, settings};

/// A client's request.
const BODY: &str = r#"{"model":"m","prompt":"x","max_tokens":16}"#;
/// Its prefill leg.
const PREFILL: &str = r#"{"model":"m","prompt":"x","max_tokens":1,"kv_transfer_params":{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,"remote_host":null,"remote_port":null},"stream":false}"#;

/// What a prefill engine answers when all is well.
fn params() -> Value {
    json!({
        "do_remote_prefill": true, "do_remote_decode": false, "remote_block_ids": [[1, 2]], "remote_engine_id": "e1",
        "remote_request_id": "r", "remote_host": "10.0.0.7", "remote_port": 5600, "tp_size": 1,
    })
}

fn answer(params: &Value) -> String {
    json!({ "id": "p", "usage": { "prompt_tokens": 9 }, "kv_transfer_params": params }).to_string()
}

async fn prefiller() -> LegEngine {
    LegEngine::start(|_| Reply::json(answer(&params()))).await
}

async fn decoder() -> LegEngine {
    LegEngine::answering(r#"{"id":"d"}"#).await
}

#[tokio::test]
async fn the_prefill_leg_asks_for_one_token_and_the_decode_leg_is_told_where_its_blocks_are() {
    let (prefiller, decoder) = (prefiller().await, decoder().await);
    let sidecar = Running::start(settings(&decoder)).await;
    let got = sidecar.complete(&[&prefiller], BODY).await;
    assert_eq!((got.status, got.body.as_str()), (200, r#"{"id":"d"}"#));
    let (first, second) = (prefiller.only(), decoder.only());
    assert_eq!(first.json(), serde_json::from_str::<Value>(PREFILL).unwrap());
    let mut expected: Value = serde_json::from_str(BODY).unwrap();
    expected["kv_transfer_params"] = params();
    assert_eq!(second.json(), expected);
    for leg in [&first, &second] {
        assert_eq!(leg.header("x-request-id"), Some("r1"), "one id on both legs");
        assert_eq!(leg.header("x-prefiller-host-port"), None);
        assert_eq!(leg.path, "/v1/completions");
    }
    assert_eq!(first.header("host"), Some(prefiller.name().as_str()));
    assert_eq!(sidecar.handoffs(), ["ok"]);
    sidecar.reports("both legs", |_| sidecar.legs() == [("prefill", "ok"), ("decode", "ok")]).await;
}

#[tokio::test]
async fn a_streamed_answer_comes_from_the_decode_engine_as_it_is_made() {
    let (events, sent) = mpsc::unbounded_channel();
    let sent = Mutex::new(Some(sent));
    let decoder = LegEngine::start(move |_| Reply::Events(sent.lock().unwrap().take().unwrap())).await;
    let prefiller = prefiller().await;
    let sidecar = Running::start(settings(&decoder)).await;
    let body = r#"{"messages":[],"stream":true,"stream_options":{"include_usage":true}}"#;
    let headers = [("x-prefiller-host-port", prefiller.name())];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut client = sidecar.begin("/v1/chat/completions", &headers, body).await;
    events.send("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n".to_owned()).unwrap();
    client.until("\"a\"").await;
    events.send("data: [DONE]\n\n".to_owned()).unwrap();
    drop(events);
    assert!(client.answer().await.body.ends_with("data: [DONE]\n\n"));
    let leg = prefiller.only().json();
    assert_eq!(
        (&leg["stream"], &leg["max_tokens"], &leg["max_completion_tokens"]),
        (&json!(false), &json!(1), &json!(1))
    );
    assert!(leg.get("stream_options").is_none());
    assert_eq!(decoder.only().json()["stream"], true);
    assert_eq!(decoder.only().header("x-request-id"), prefiller.only().header("x-request-id"), "drawn for both");
}

#[tokio::test]
async fn parameters_that_are_not_complete_are_never_handed_over() {
    let without = |field: &str| {
        let mut params = params();
        params.as_object_mut().unwrap().remove(field);
        params
    };
    let mut null_blocks = params();
    null_blocks["remote_block_ids"] = Value::Null;
    let mut producers = params();
    producers["do_remote_decode"] = true.into();
    for (params, result) in [
        (Value::Null, "missing"),
        (json!({}), "missing"),
        (null_blocks, "incomplete"),
        (without("remote_engine_id"), "incomplete"),
        (without("remote_host"), "incomplete"),
        (producers, "producers"),
    ] {
        let text = answer(&params);
        let prefiller = LegEngine::start(move |_| Reply::json(text.clone())).await;
        let decoder = decoder().await;
        let sidecar = Running::start(settings(&decoder)).await;
        let got = sidecar.complete(&[&prefiller], BODY).await;
        assert_eq!((got.status, got.body.as_str()), (200, r#"{"id":"d"}"#), "the decode engine computes the prompt");
        assert_eq!(&decoder.only().body[..], BODY.as_bytes(), "{params}");
        assert_eq!(sidecar.handoffs(), [result], "{params}");
    }
}

#[tokio::test]
async fn the_next_prefill_engine_of_the_list_is_tried_when_one_fails() {
    let failing = LegEngine::start(|_| Reply::error(500)).await;
    let breaking = LegEngine::start(|_| Reply::Break).await;
    let stopped = LegEngine::start(|_| Reply::Never).await;
    let nobody = stopped.name();
    drop(stopped);
    let (prefiller, decoder) = (prefiller().await, decoder().await);
    let sidecar = Running::start(settings(&decoder)).await;
    let list = format!("{}, {nobody}, {}, {}", failing.name(), breaking.name(), prefiller.name());
    let got = sidecar.post("/v1/completions", &[("x-prefiller-host-port", &list)], BODY).await;
    assert_eq!(got.status, 200);
    assert_eq!((failing.received().len(), breaking.received().len(), prefiller.received().len()), (1, 1, 1));
    assert_eq!(decoder.only().json()["kv_transfer_params"], params());
    let outcomes: Vec<&str> = sidecar.legs().iter().map(|(_, outcome)| *outcome).take(4).collect();
    assert_eq!(outcomes, ["status", "connect", "broken", "ok"]);
}

#[tokio::test]
async fn a_prefill_that_fails_everywhere_is_an_error_by_default_and_is_counted() {
    let (failing, decoder) = (LegEngine::start(|_| Reply::error(503)).await, decoder().await);
    let mut settings = settings(&decoder);
    settings.retries = 2;
    let sidecar = Running::start(settings).await;
    let got = sidecar.complete(&[&failing], BODY).await;
    assert_eq!((got.status, got.message().as_str()), (503, "as told"), "the engine's own answer");
    assert_eq!(failing.received().len(), 3, "two further attempts");
    assert!(decoder.received().is_empty());
    assert!(sidecar.events().iter().any(|event| matches!(event, SidecarEvent::Refused { code: "prefill", .. })));
}

#[tokio::test]
async fn a_prefill_that_fails_everywhere_is_left_to_the_decode_engine_where_configured() {
    let (failing, decoder) = (LegEngine::start(|_| Reply::Break).await, decoder().await);
    let mut settings = settings(&decoder);
    settings.on_prefill_failure = OnPrefillFailure::Decode;
    let sidecar = Running::start(settings).await;
    let got = sidecar.complete(&[&failing], BODY).await;
    assert_eq!((got.status, got.body.as_str()), (200, r#"{"id":"d"}"#));
    assert_eq!(&decoder.only().body[..], BODY.as_bytes());
    assert!(sidecar.events().contains(&SidecarEvent::FellBack { connector: "nixlv2", stage: "prefill" }));
}

#[tokio::test]
async fn a_request_that_the_prefill_engine_finds_wrong_is_answered_so_and_not_tried_again() {
    let wrong = LegEngine::start(|_| Reply::error(400)).await;
    let (other, decoder) = (prefiller().await, decoder().await);
    let mut settings = settings(&decoder);
    settings.on_prefill_failure = OnPrefillFailure::Decode;
    let sidecar = Running::start(settings).await;
    assert_eq!(sidecar.complete(&[&wrong, &other], BODY).await.status, 400);
    assert!(other.received().is_empty() && decoder.received().is_empty());
}

#[tokio::test]
async fn a_hand_off_that_is_too_late_is_given_up() {
    let (prefiller, decoder) = (prefiller().await, decoder().await);
    let mut settings = settings(&decoder);
    settings.deadlines.handoff = Duration::ZERO;
    let sidecar = Running::start(settings).await;
    assert_eq!(sidecar.complete(&[&prefiller], BODY).await.status, 200);
    assert_eq!(&decoder.only().body[..], BODY.as_bytes(), "the blocks may be another request's by now");
    assert_eq!(sidecar.handoffs(), ["stale"]);
}

#[tokio::test]
async fn blocks_of_another_version_are_not_handed_over() {
    let prefiller = LegEngine::start(|_| {
        let fingerprint = "vllm-0.32.0-cf9a390c";
        Reply::json(json!({ "system_fingerprint": fingerprint, "kv_transfer_params": params() }).to_string())
    })
    .await;
    for (version, result) in [(Some("0.32.0"), "ok"), (Some("0.31.0"), "versions"), (None, "ok")] {
        let decoder = LegEngine::start(move |asked| match (asked.path.as_str(), version) {
            ("/version", Some(version)) => Reply::json(format!(r#"{{"version":"{version}"}}"#)),
            ("/version", None) => Reply::error(404),
            _ => Reply::json("{}"),
        })
        .await;
        let sidecar = Running::start(settings(&decoder)).await;
        for _ in 0..2 {
            assert_eq!(sidecar.complete(&[&prefiller], BODY).await.status, 200);
        }
        assert_eq!(sidecar.handoffs(), [result; 2], "{version:?}");
        let handed = |asked: &murmuration_kit::leg_engine::Received| {
            asked.method == "POST" && asked.json().get("kv_transfer_params").is_some()
        };
        assert_eq!(decoder.received().iter().filter(|asked| handed(asked)).count(), if result == "ok" { 2 } else { 0 });
        assert_eq!(decoder.received().iter().filter(|asked| asked.path == "/version").count(), 1, "it is asked once");
    }
}

#[tokio::test]
async fn a_request_for_several_sequences_is_not_handed_over() {
    let (prefiller, decoder) = (prefiller().await, decoder().await);
    let sidecar = Running::start(settings(&decoder)).await;
    for body in [r#"{"prompt":["a","b"]}"#, r#"{"prompt":"a","n":3}"#] {
        assert_eq!(sidecar.complete(&[&prefiller], body).await.status, 200);
        assert_eq!(&decoder.received().pop().unwrap().body[..], body.as_bytes());
    }
    assert!(prefiller.received().is_empty(), "one hand-off has the blocks of one prompt, for one reader");
    assert_eq!(sidecar.handoffs(), ["several-sequences"; 2]);
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_leg_that_runs() {
    let (silent, decoder) = (LegEngine::start(|_| Reply::Never).await, LegEngine::start(|_| Reply::Never).await);
    let sidecar = Running::start(settings(&decoder)).await;
    let client = sidecar.begin_complete(&[&silent], BODY).await;
    silent.has_received(1).await;
    drop(client);
    silent.was_left(1).await;
    sidecar.reports("a cancelled leg", |_| sidecar.legs() == [("prefill", "cancelled")]).await;
    assert!(decoder.received().is_empty(), "nothing is decoded for a client that left");

    let prefiller = prefiller().await;
    let client = sidecar.begin_complete(&[&prefiller], BODY).await;
    decoder.has_received(1).await;
    drop(client);
    decoder.was_left(1).await;
}

#[tokio::test]
async fn a_prefill_engine_that_is_silent_ends_with_its_deadline() {
    let (silent, decoder) = (LegEngine::start(|_| Reply::Never).await, decoder().await);
    let mut settings = settings(&decoder);
    settings.deadlines.prefill = Duration::from_millis(100);
    let sidecar = Running::start(settings).await;
    let got = sidecar.complete(&[&silent], BODY).await;
    assert_eq!((got.status, got.message().contains(&silent.name())), (504, true), "{}", got.body);
    silent.was_left(1).await;
}

#[tokio::test]
async fn the_decode_leg_has_a_deadline_of_its_own() {
    let (told, tell) = oneshot::channel();
    let tell = Mutex::new(Some(tell));
    let prefiller = LegEngine::start(move |_| {
        let answer = Reply::json(answer(&params()));
        Reply::After(tell.lock().unwrap().take().unwrap(), Box::new(answer))
    })
    .await;
    let decoder = decoder().await;
    let mut settings = settings(&decoder);
    settings.deadlines.decode = Duration::from_secs(2);
    let sidecar = Running::start(settings).await;
    let client = sidecar.begin_complete(&[&prefiller], BODY).await;
    prefiller.has_received(1).await;
    // The prefill engine's queue is longer than the whole deadline of the decode leg.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    told.send(()).unwrap();
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn cached_tokens_are_the_prefill_engines() {
    let prefiller = LegEngine::start(|_| {
        let usage = json!({ "prompt_tokens": 9, "prompt_tokens_details": { "cached_tokens": 4 } });
        Reply::json(json!({ "usage": usage, "kv_transfer_params": params() }).to_string())
    })
    .await;
    // A decode engine counts all that it pulled.
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":9}}}"#;
    let decoder = LegEngine::start(move |asked| {
        if asked.json()["stream"] == true {
            let (events, sent) = mpsc::unbounded_channel();
            events.send(format!("data: {usage}\n\ndata: [DONE]\n\n")).unwrap();
            return Reply::Events(sent);
        }
        Reply::json(usage)
    })
    .await;
    let sidecar = Running::start(settings(&decoder)).await;
    let expected = usage.replace("\"cached_tokens\":9", "\"cached_tokens\":4");
    assert_eq!(sidecar.complete(&[&prefiller], BODY).await.body, expected);
    let streamed = sidecar.complete(&[&prefiller], r#"{"prompt":"x","stream":true}"#).await;
    assert_eq!(streamed.body, format!("data: {expected}\n\ndata: [DONE]\n\n"));
}

#[tokio::test]
async fn an_answer_that_is_changed_here_is_asked_for_without_an_encoding() {
    let prefiller = prefiller().await;
    let decoder = decoder().await;
    let sidecar = Running::start(settings(&decoder)).await;
    let list = prefiller.name();
    let headers = [("x-prefiller-host-port", list.as_str()), ("accept-encoding", "gzip, br")];
    assert_eq!(sidecar.post("/v1/completions", &headers, BODY).await.status, 200);
    assert_eq!(decoder.only().header("accept-encoding"), Some("identity"));
    assert_eq!(prefiller.only().header("accept-encoding"), Some("identity"));
    assert_eq!(sidecar.post("/v1/completions", &headers[1..], BODY).await.status, 200);
    assert_eq!(decoder.received()[1].header("accept-encoding"), Some("gzip, br"), "nothing is changed in this one");
}

#[tokio::test]
async fn a_stream_that_is_encoded_all_the_same_passes_unchanged_and_at_once() {
    let prefiller = prefiller().await;
    let (pieces, sent) = mpsc::unbounded_channel();
    let sent = Mutex::new(Some(sent));
    let decoder = LegEngine::start(move |_| {
        let headers = vec![("content-type", "text/event-stream"), ("content-encoding", "gzip")];
        Reply::Pieces(headers, sent.lock().unwrap().take().unwrap())
    })
    .await;
    let sidecar = Running::start(settings(&decoder)).await;
    let mut client = sidecar.begin_complete(&[&prefiller], BODY).await;
    // Bytes that have no lines.
    pieces.send("packed".to_owned()).unwrap();
    client.until("packed").await;
    drop(pieces);
    assert_eq!(client.answer().await.body, "packed");
}

#[tokio::test]
async fn a_restarted_prefill_engine_is_noticed() {
    let asked = AtomicUsize::new(0);
    let prefiller = LegEngine::start(move |_| {
        let mut params = params();
        params["remote_engine_id"] = if asked.fetch_add(1, Ordering::Relaxed) < 2 { "e1" } else { "e2" }.into();
        Reply::json(answer(&params))
    })
    .await;
    let decoder = decoder().await;
    let sidecar = Running::start(settings(&decoder)).await;
    let restarts = || {
        let is_restart = |event: &SidecarEvent| matches!(event, SidecarEvent::PrefillerRestarted { .. });
        sidecar.events().into_iter().filter(is_restart).count()
    };
    for expected in [0, 0, 1] {
        sidecar.complete(&[&prefiller], BODY).await;
        assert_eq!(restarts(), expected);
    }
}

#[tokio::test]
async fn a_decode_engine_that_can_not_read_the_blocks_serves_the_request_alone_where_configured() {
    let prefiller = prefiller().await;
    let decoder = LegEngine::start(|asked| match asked.json().get("kv_transfer_params") {
        Some(_) => Reply::error(500),
        None => Reply::json(r#"{"id":"d"}"#),
    })
    .await;
    let sidecar = Running::start(settings(&decoder)).await;
    assert_eq!(sidecar.complete(&[&prefiller], BODY).await.status, 500, "an error by default");
    let mut settings = settings(&decoder);
    settings.on_prefill_failure = OnPrefillFailure::Decode;
    let sidecar = Running::start(settings).await;
    assert_eq!(sidecar.complete(&[&prefiller], BODY).await.body, r#"{"id":"d"}"#);
    assert!(sidecar.events().contains(&SidecarEvent::FellBack { connector: "nixlv2", stage: "decode" }));
}

#[tokio::test]
async fn a_prefix_is_pulled_from_another_engine_where_engines_can() {
    let (prefiller, decoder) = (prefiller().await, decoder().await);
    let mut settings = settings(&decoder);
    settings.p2p_pull = true;
    let sidecar = Running::start(settings).await;
    let list = prefiller.name();
    let headers = [("x-prefiller-host-port", list.as_str()), ("x-kv-cache-source-host-port", "127.0.0.1:9000")];
    assert_eq!(sidecar.post("/v1/completions", &headers, BODY).await.status, 200);
    let leg = prefiller.only().json();
    let source = &leg["kv_transfer_params"]["remote_kv_source"];
    assert_eq!((&source["remote_host"], &source["remote_port"]), (&json!("127.0.0.1"), &json!(7777)));
    assert_eq!(leg["kv_transfer_params"]["do_remote_decode"], true);
    // Without a prefill leg, the decode engine pulls.
    assert_eq!(sidecar.post("/v1/completions", &headers[1..], BODY).await.status, 200);
    let alone = decoder.received().pop().unwrap().json();
    assert_eq!(alone["kv_transfer_params"]["remote_kv_source"]["remote_host"], "127.0.0.1");
    assert!(alone["kv_transfer_params"].get("do_remote_prefill").is_none());
}
