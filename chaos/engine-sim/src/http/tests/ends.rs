//! Tests of endings: clients that disconnect, full queues, bodies without end, idle connections, and the engine's stop.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::http::routes::BODY_BYTES_MAX;
use crate::http::server::serve_with;

const STREAM: &str = r#"{"model":"tiny","prompt":"x","stream":true}"#;

/// Running and waiting requests, as the page shows them.
async fn load(engine: &EngineServer) -> (u32, u32) {
    let page = get(engine.address(), "/metrics").await;
    let report = read_page(&page.body, &EngineSpec::vllm()).unwrap();
    (report.running, report.waiting)
}

#[tokio::test]
async fn a_client_that_disconnects_leaves_the_batch_and_the_queue() {
    let engine = start(stuck()).await;
    let running = begin(engine.address(), COMPLETIONS, STREAM).await;
    let waiting = begin(engine.address(), COMPLETIONS, STREAM).await;
    assert_eq!(load(&engine).await, (1, 1));
    drop(waiting);
    while load(&engine).await != (1, 0) {}
    drop(running);
    while load(&engine).await != (0, 0) {}
    engine.stop().await;
}

#[tokio::test]
async fn a_client_that_disconnects_before_the_answers_head_leaves_too() {
    let engine = start(stuck()).await;
    let address = engine.address();
    let whole = tokio::spawn(async move { post(address, COMPLETIONS, r#"{"prompt":"x","n":3}"#).await });
    while load(&engine).await != (1, 2) {}
    whole.abort();
    while load(&engine).await != (0, 0) {}
    engine.stop().await;
}

#[tokio::test]
async fn the_room_of_a_disconnected_client_goes_to_the_next() {
    let endless = r#"{"model":"tiny","prompt":"x","max_tokens":300000,"stream":true}"#;
    let engine = start(EngineConfig { max_num_seqs: 1, ..quick() }).await;
    let mut first = begin(engine.address(), COMPLETIONS, endless).await;
    assert!(first.next().await.unwrap().is_some());
    let next = begin(engine.address(), COMPLETIONS, STREAM).await;
    drop(first);
    assert_eq!(next.collect().await.unwrap().events.len(), 16);
    assert_eq!(load(&engine).await, (0, 0));
    engine.stop().await;
}

#[tokio::test]
async fn a_full_queue_is_answered_with_503() {
    let engine = start(EngineConfig { max_num_queued: Some(1), ..stuck() }).await;
    let _running = begin(engine.address(), COMPLETIONS, STREAM).await;
    let _waiting = begin(engine.address(), COMPLETIONS, STREAM).await;
    for body in [STREAM, r#"{"model":"tiny","prompt":"x"}"#] {
        let response = post(engine.address(), COMPLETIONS, body).await;
        assert_eq!(
            (response.status.as_u16(), &json_of(&response.body)["error"]["type"]),
            (503, &json!("Service Unavailable"))
        );
    }
    assert_eq!(get(engine.address(), "/health").await.status.as_u16(), 200);
    let page = get(engine.address(), "/metrics").await.body;
    let rejected = r#"vllm:admission_rejections_total{model_name="tiny",reason="max_num_queued_reqs"} 2.0"#;
    assert!(String::from_utf8_lossy(&page).lines().any(|line| line == rejected));
    engine.stop().await;
}

#[tokio::test]
async fn answers_that_do_not_fit_into_the_queue_together_are_refused_together() {
    let engine = start(EngineConfig { max_num_queued: Some(1), ..stuck() }).await;
    let response = post(engine.address(), COMPLETIONS, r#"{"model":"tiny","prompt":"x","n":3}"#).await;
    assert_eq!((response.status.as_u16(), load(&engine).await), (503, (0, 0)));
    engine.stop().await;
}

#[tokio::test]
async fn a_full_queue_is_reported_inside_a_stream_when_configured() {
    let engine = start(EngineConfig { max_num_queued: Some(0), busy_in_stream: true, ..stuck() }).await;
    let response = post(engine.address(), CHAT, r#"{"messages":[{"role":"user","content":"x"}],"stream":true}"#).await;
    let events = events_of(&response);
    assert_eq!((response.status.as_u16(), events.len(), &events[0]["error"]["code"]), (200, 1, &json!(503)));
    let response = post(engine.address(), COMPLETIONS, r#"{"prompt":"x"}"#).await;
    assert_eq!(response.status.as_u16(), 503);
    engine.stop().await;
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_refused_before_it_is_read() {
    let engine = start(quick()).await;
    let mut stream = TcpStream::connect(engine.address()).await.unwrap();
    let length = BODY_BYTES_MAX + 1;
    let head = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: e\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0u8; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    engine.stop().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let engine = serve_with(listener, quick(), None, Duration::from_millis(20)).unwrap();
    let mut stream = TcpStream::connect(engine.address()).await.unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: e\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"), "{answer}");
    engine.stop().await;
}

#[tokio::test]
async fn a_stream_may_last_longer_than_an_idle_connection() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let config = EngineConfig { step_base: Duration::from_millis(10), ..quick() };
    let engine = serve_with(listener, config, None, Duration::from_millis(20)).unwrap();
    let response = post(engine.address(), COMPLETIONS, STREAM).await;
    assert_eq!(events_of(&response).len(), 16);
    engine.stop().await;
}

#[tokio::test]
async fn an_engine_that_stops_ends_its_streams_with_abort() {
    let engine = start(stuck()).await;
    let address = engine.address();
    let stream = begin(address, COMPLETIONS, STREAM).await;
    engine.stop().await;
    let events = events_of(&stream.collect().await.unwrap());
    assert_eq!((events.len(), &events[0]["choices"][0]["finish_reason"]), (1, &json!("abort")));
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn an_engine_with_invalid_bounds_is_not_served() {
    for bad in [EngineConfig { name: "a\nb".to_owned(), ..quick() }, EngineConfig { blocks: 0, ..quick() }] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        assert!(serve(listener, bad).is_err());
    }
}
