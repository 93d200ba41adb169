//! Clients that are slow: to send a request, to read an answer, or to notice that they are refused.

use std::sync::Mutex;
use std::time::Duration;

use murmuration_kit::leg_engine::{LegEngine, Reply};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::harness::{Client, Running, settings};

/// Paths of a request that is gathered, and of one that passes as it comes.
const PATHS: [&str; 2] = ["/v1/completions", "/v1/audio/transcriptions"];

fn head(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n")
}

#[tokio::test]
async fn a_request_that_stops_arriving_is_refused_and_its_leg_is_cancelled() {
    let decoder = LegEngine::answering("{}").await;
    let mut settings = settings(&decoder);
    settings.deadlines.arrival = Duration::from_millis(100);
    let sidecar = Running::start(settings).await;
    for path in PATHS {
        let got = Client::raw(sidecar.at[0], &format!("{}{{", head(path, 10))).await.answer().await;
        assert_eq!((got.status, got.message().contains("did not arrive")), (408, true), "{path}: {}", got.body);
    }
    assert!(decoder.received().is_empty());
    sidecar.reports("a cancelled leg", |_| sidecar.legs() == [("decode", "cancelled")]).await;
}

#[tokio::test]
async fn a_request_that_trickles_is_refused_when_its_time_is_over() {
    let decoder = LegEngine::answering("{}").await;
    let mut settings = settings(&decoder);
    settings.deadlines.arrived = Duration::from_millis(300);
    let sidecar = Running::start(settings).await;
    for path in PATHS {
        let mut client = Client::raw(sidecar.at[0], &head(path, 1_000)).await;
        let answered = client.trickle(Duration::from_millis(20)).await;
        assert!(answered.starts_with("HTTP/1.1 408"), "{path}: {answered}");
    }
    assert!(decoder.received().is_empty());
}

#[tokio::test]
async fn an_answer_that_is_not_read_ends_its_leg_and_the_engine_is_not_read_on() {
    let (events, sent) = mpsc::unbounded_channel();
    let sent = Mutex::new(Some(sent));
    let decoder = LegEngine::start(move |_| Reply::Events(sent.lock().unwrap().take().unwrap())).await;
    let mut settings = settings(&decoder);
    settings.deadlines.unread = Duration::from_millis(200);
    let sidecar = Running::start(settings).await;
    let mut client = sidecar.begin("/v1/completions", &[], r#"{"prompt":"x","stream":true}"#).await;
    events.send("data: first\n\n".to_owned()).unwrap();
    client.until("first").await;
    // More than sockets on both sides hold.
    for _ in 0..512 {
        events.send(format!("data: {}\n\n", "x".repeat(64 << 10))).unwrap();
    }
    decoder.was_left(1).await;
    sidecar.reports("a cancelled leg", |_| sidecar.legs() == [("decode", "cancelled")]).await;
    let page = Client::send(sidecar.metrics, "GET /metrics", &[], "").await.answer().await.body;
    let counted = r#"murmuration_connections_closed_total{port="sidecar",reason="unread"} 1"#;
    assert!(page.contains(counted), "{page}");
}

#[tokio::test]
async fn a_client_that_pauses_and_reads_on_gets_all_of_its_answer() {
    let (events, sent) = mpsc::unbounded_channel();
    let sent = Mutex::new(Some(sent));
    let decoder = LegEngine::start(move |_| Reply::Events(sent.lock().unwrap().take().unwrap())).await;
    let mut settings = settings(&decoder);
    // The engine is not silent while the client does not read.
    settings.deadlines.decode = Duration::from_millis(500);
    let sidecar = Running::start(settings).await;
    let client = sidecar.begin("/v1/completions", &[], r#"{"prompt":"x","stream":true}"#).await;
    let piece = format!("data: {}\n\n", "x".repeat(64 << 10));
    for _ in 0..256 {
        events.send(piece.clone()).unwrap();
    }
    drop(events);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(client.answer().await.body.len(), 256 * piece.len());
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let decoder = LegEngine::answering("{}").await;
    let sidecar = Running::start(settings(&decoder)).await;
    let body = "x".repeat(8 << 20);
    for (path, header, status) in [
        ("/v1/completions", "", 413),
        ("/v1/completions", "x-prefiller-host-port: nowhere\r\n", 400),
        ("/v1/completions", "x-prefiller-host-port: 10.0.0.1:1\r\n", 403),
    ] {
        let head = head(path, body.len()).replace("\r\n\r\n", &format!("\r\n{header}\r\n"));
        let mut client = Client::raw(sidecar.at[0], &head).await;
        // The answer is there long before it is looked for.
        client.write(&body).await;
        sleep(Duration::from_millis(50)).await;
        assert_eq!(client.answer().await.status, status, "{header}");
    }
}

#[tokio::test]
async fn memory_is_taken_for_a_body_before_it_comes() {
    let decoder = LegEngine::answering("{}").await;
    let mut settings = settings(&decoder);
    settings.limits.body_memory = 200;
    let sidecar = Running::start(settings).await;
    let body = format!(r#"{{"prompt":"{}"}}"#, "x".repeat(100));
    let mut first = Client::raw(sidecar.at[0], &head("/v1/completions", body.len())).await;
    first.write(&body[..10]).await;
    sleep(Duration::from_millis(100)).await;
    // Else both would come in part, and neither would fit.
    assert_eq!(sidecar.post("/v1/completions", &[], &body).await.status, 503);
    first.write(&body[10..]).await;
    assert_eq!(first.answer().await.status, 200);
    assert_eq!(sidecar.post("/v1/completions", &[], &body).await.status, 200);
    let chunked = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    assert_eq!(Client::raw(sidecar.at[0], &chunked).await.answer().await.status, 200);
}
