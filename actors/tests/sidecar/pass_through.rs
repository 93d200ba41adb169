//! Requests without legs elsewhere: everything passes, as it comes.

use std::time::Duration;

use murmuration::event::SidecarEvent;
use murmuration_kit::leg_engine::{LegEngine, Reply};
use tokio::sync::mpsc;

use crate::harness::{Client, Running, settings};

#[tokio::test]
async fn any_method_and_path_reaches_the_decode_engine() {
    let decoder = LegEngine::start(|asked| {
        let headers =
            vec![("x-engine", "yes"), ("connection", "x-private"), ("x-private", "1"), ("content-type", "text/plain")];
        Reply::Whole(if asked.path == "/teapot" { 418 } else { 200 }, headers, asked.path.clone())
    })
    .await;
    let sidecar = Running::start(settings(&decoder)).await;
    for (line, status) in [("GET /v1/models?a=b", 200), ("DELETE /v1/x", 200), ("GET /teapot", 418), ("PUT /", 200)] {
        let headers = [
            ("x-prefiller-host-port", "10.0.0.1:1"),
            ("x-encoder-hosts-ports", "not a target"),
            ("connection", "x-mine"),
            ("x-mine", "1"),
            ("x-passes", "1"),
        ];
        let got = Client::send(sidecar.at[0], line, &headers, "").await.answer().await;
        let path = line.split(' ').nth(1).unwrap();
        assert_eq!((got.status, got.body.as_str()), (status, path), "{line}");
        assert!(got.head.contains("x-engine: yes") && !got.head.contains("x-private"), "{}", got.head);
        let asked = decoder.received().pop().unwrap();
        assert_eq!(
            (format!("{} {}", asked.method, asked.path), asked.header("x-passes")),
            (line.to_owned(), Some("1"))
        );
        for gone in ["x-prefiller-host-port", "x-encoder-hosts-ports", "x-mine", "connection"] {
            assert_eq!(asked.header(gone), None, "{gone}");
        }
    }
    let got = sidecar.post("/tokenize", &[], "any bytes, no JSON").await;
    assert_eq!(got.status, 200);
    assert_eq!(&decoder.received().pop().unwrap().body[..], b"any bytes, no JSON");
}

#[tokio::test]
async fn a_request_to_a_model_passes_byte_by_byte() {
    let decoder = LegEngine::answering(r#"{"id":"x"}"#).await;
    let sidecar = Running::start(settings(&decoder)).await;
    let body = r#"{ "model":"m" , "messages": [ ],"tools":[{"z":1,"a":2.0}], "n": 1 }"#;
    let got = sidecar.post("/v1/chat/completions", &[("authorization", "Bearer t")], body).await;
    assert_eq!((got.status, got.body.as_str()), (200, r#"{"id":"x"}"#));
    assert!(got.head.contains("content-length: 10"), "{}", got.head);
    let asked = decoder.only();
    assert_eq!(&asked.body[..], body.as_bytes());
    assert_eq!(asked.header("authorization"), Some("Bearer t"));
    assert_eq!(asked.header("x-request-id"), None, "nothing is added to a request that is not split");
}

#[tokio::test]
async fn a_stream_is_not_buffered() {
    let (events, sent) = mpsc::unbounded_channel();
    let sent = std::sync::Mutex::new(Some(sent));
    let decoder = LegEngine::start(move |_| Reply::Events(sent.lock().unwrap().take().unwrap())).await;
    let sidecar = Running::start(settings(&decoder)).await;
    let mut client = sidecar.begin("/v1/chat/completions", &[], r#"{"messages":[],"stream":true}"#).await;
    events.send("data: first\n\n".to_owned()).unwrap();
    let so_far = client.until("data: first\n\n").await;
    assert!(!so_far.contains("second"), "the engine has not sent it");
    events.send("data: second\n\n".to_owned()).unwrap();
    client.until("data: second\n\n").await;
    drop(events);
    assert_eq!(client.answer().await.body, "data: first\n\ndata: second\n\n");
    assert_eq!((decoder.abandoned(), sidecar.legs()), (0, vec![("decode", "ok")]));
}

#[tokio::test]
async fn a_request_that_is_not_split_is_not_buffered_either() {
    let decoder = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let quiet = LegEngine::answering("{}").await;
    let decode_settings = settings(&quiet);
    let decoder_at = decoder.local_addr().unwrap().to_string();
    let settings = murmuration_actors::sidecar::SidecarSettings {
        decoder: crate::harness::target(&decoder_at),
        ..decode_settings
    };
    let sidecar = Running::start(settings).await;
    let head = "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut client = Client::raw(sidecar.at[0], &format!("{head}5\r\nfirst\r\n")).await;
    let (mut engine, _) = decoder.accept().await.unwrap();
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains("first") {
        assert!(tokio::io::AsyncReadExt::read_buf(&mut engine, &mut read).await.unwrap() > 0);
    }
    client.write("6\r\nsecond\r\n0\r\n\r\n").await;
    while !String::from_utf8_lossy(&read).contains("second") {
        assert!(tokio::io::AsyncReadExt::read_buf(&mut engine, &mut read).await.unwrap() > 0);
    }
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_decode_engine_before_and_during_its_answer() {
    let (events, sent) = mpsc::unbounded_channel();
    let sent = std::sync::Mutex::new(Some(sent));
    let decoder = LegEngine::start(move |asked| match asked.path.as_str() {
        "/v1/completions" => Reply::Never,
        _ => Reply::Events(sent.lock().unwrap().take().unwrap()),
    })
    .await;
    let sidecar = Running::start(settings(&decoder)).await;
    let waiting = sidecar.begin("/v1/completions", &[], r#"{"prompt":"x"}"#).await;
    decoder.has_received(1).await;
    drop(waiting);
    decoder.was_left(1).await;
    let mut reading = sidecar.begin("/v1/chat/completions", &[], r#"{"messages":[]}"#).await;
    events.send("data: x\n\n".to_owned()).unwrap();
    reading.until("data: x").await;
    drop(reading);
    decoder.was_left(2).await;
    sidecar
        .reports("two cancelled legs", |_| sidecar.legs() == [("decode", "cancelled"), ("decode", "cancelled")])
        .await;
}

#[tokio::test]
async fn a_decode_engine_that_is_down_breaks_or_is_silent_gives_an_error_that_names_it() {
    let decoder = LegEngine::start(|asked| if asked.path == "/break" { Reply::Break } else { Reply::Never }).await;
    let mut settings = settings(&decoder);
    settings.deadlines.decode = Duration::from_millis(100);
    let sidecar = Running::start(settings.clone()).await;
    let got = Client::send(sidecar.at[0], "GET /break", &[], "").await.answer().await;
    assert_eq!(got.status, 502);
    let got = sidecar.post("/v1/completions", &[], r#"{"prompt":"x"}"#).await;
    assert_eq!((got.status, got.message().contains("did not answer in time")), (504, true), "{}", got.body);
    drop(decoder);
    let got = sidecar.post("/v1/completions", &[], r#"{"prompt":"x"}"#).await;
    assert_eq!(got.status, 503);
    let message = got.message();
    assert!(message.contains(&settings.decoder.to_string()) && message.contains("--model-server-port"), "{message}");
}

#[tokio::test]
async fn a_stream_that_stops_is_broken_off_and_not_ended() {
    let (events, sent) = mpsc::unbounded_channel();
    let sent = std::sync::Mutex::new(Some(sent));
    let decoder = LegEngine::start(move |_| Reply::Events(sent.lock().unwrap().take().unwrap())).await;
    let mut settings = settings(&decoder);
    settings.deadlines.decode = Duration::from_millis(200);
    let sidecar = Running::start(settings).await;
    let mut client = sidecar.begin("/v1/chat/completions", &[], r#"{"messages":[]}"#).await;
    events.send("data: x\n\n".to_owned()).unwrap();
    client.until("data: x").await;
    assert!(client.try_answer().await.is_none(), "a client must see that something is missing");
    decoder.was_left(1).await;
    assert_eq!(sidecar.legs(), [("decode", "timeout")]);
}

#[tokio::test]
async fn transfer_parameters_of_clients_never_reach_an_engine() {
    let decoder = LegEngine::answering("{}").await;
    let sidecar = Running::start(settings(&decoder)).await;
    // Incomplete parameters end the process of a vLLM decode engine.
    let body = r#"{"prompt":"x","kv_transfer_params":{"do_remote_prefill":true,"remote_block_ids":null}}"#;
    assert_eq!(sidecar.post("/v1/completions", &[], body).await.status, 200);
    assert_eq!(&decoder.only().body[..], br#"{"prompt":"x"}"#);
    let removed = SidecarEvent::FieldRemoved { field: "kv_transfer_params" };
    assert!(sidecar.events().contains(&removed));
}

#[tokio::test]
async fn a_path_with_escapes_and_an_alias_hide_no_transfer_parameters() {
    let (decoder, prefiller) = (LegEngine::answering("{}").await, LegEngine::answering("{}").await);
    let sidecar = Running::start(settings(&decoder)).await;
    let body = r#"{"messages":[],"kv_transfer_params":{"do_remote_prefill":true}}"#;
    for (path, header) in [("/v1/%63hat/completions", ""), ("/invocations", ""), ("/invocations", &*prefiller.name())] {
        let headers = [("x-prefiller-host-port", header)];
        assert_eq!(sidecar.post(path, &headers, body).await.status, 200, "{path}");
        let got = decoder.received().pop().unwrap();
        assert_eq!((got.path.as_str(), &got.body[..]), (path, &br#"{"messages":[]}"#[..]));
        assert_eq!(got.header("x-prefiller-host-port"), None);
    }
    assert_eq!((decoder.received().len(), prefiller.received().len()), (3, 0), "an alias is never split");
}

#[tokio::test]
async fn a_body_that_can_not_be_read_or_held_is_refused() {
    let decoder = LegEngine::answering("{}").await;
    let sidecar = Running::start(settings(&decoder)).await;
    let got = sidecar.post("/v1/completions", &[], r#"{"prompt":NaN}"#).await;
    assert_eq!((got.status, got.message().contains("no JSON object")), (400, true), "{}", got.body);
    let large = format!(r#"{{"prompt":"{}"}}"#, "x".repeat(1 << 20));
    let got = sidecar.post("/v1/completions", &[], &large).await;
    assert_eq!((got.status, got.message().contains("--max-body-size")), (413, true), "{}", got.body);
    assert!(decoder.received().is_empty());
}

#[tokio::test]
async fn bodies_that_take_all_memory_make_room_when_they_are_served() {
    let (told, tell) = tokio::sync::oneshot::channel();
    let tell = std::sync::Mutex::new(Some(tell));
    let decoder = LegEngine::start(move |_| match tell.lock().unwrap().take() {
        Some(tell) => Reply::After(tell, Box::new(Reply::json("{}"))),
        None => Reply::json("{}"),
    })
    .await;
    let mut settings = settings(&decoder);
    settings.limits.body_memory = 200;
    let sidecar = Running::start(settings).await;
    let body = format!(r#"{{"prompt":"{}"}}"#, "x".repeat(100));
    let first = sidecar.begin("/v1/completions", &[], &body).await;
    decoder.has_received(1).await;
    let got = sidecar.post("/v1/completions", &[], &body).await;
    assert_eq!((got.status, got.message().contains("--max-body-memory")), (503, true), "{}", got.body);
    told.send(()).unwrap();
    assert_eq!(first.answer().await.status, 200);
    assert_eq!(sidecar.post("/v1/completions", &[], &body).await.status, 200);
}

#[tokio::test]
async fn health_is_the_sidecars_own_and_metrics_have_llm_ds_names() {
    let decoder = LegEngine::answering("{}").await;
    let sidecar = Running::start(settings(&decoder)).await;
    let got = Client::send(sidecar.at[0], "GET /health", &[], "").await.answer().await;
    assert_eq!(got.status, 200);
    assert!(decoder.received().is_empty(), "the decode engine's own health is at its own port");
    sidecar.post("/v1/completions", &[], r#"{"prompt":"x"}"#).await;
    let page = Client::send(sidecar.metrics, "GET /metrics", &[], "").await.answer().await.body;
    assert!(page.contains(r#"llm_d_disagg_sidecar_requests_total{api_type="completions"} 1"#), "{page}");
    assert!(!page.contains("llm_d_epp_"), "nothing of a picker: {page}");
    assert_eq!(Client::send(sidecar.metrics, "GET /readyz", &[], "").await.answer().await.status, 200);
}
