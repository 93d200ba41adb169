//! The client against servers that answer, stall and break on purpose.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::{Call, Cause, Client, Load, Lost};

const CHAT: &str = "/v1/chat/completions";
const CAPTURED: &[u8] = include_bytes!("../../../../tests/fixtures/vllm/chat-stream-usage.raw");
const KEPT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
const CLOSING: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
const STREAM: &str =
    "HTTP/1.1 200 OK\r\nx-inference-pod: engine-7\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

/// A server that answers every request with the same bytes; see [`canned`].
struct Canned {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    arrived: watch::Receiver<usize>,
    task: AbortHandle,
}

impl Drop for Canned {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts a server that answers once `held` requests have arrived. Then it reads the next request or, with `cut`,
/// closes the connection.
async fn canned(answer: impl Into<Vec<u8>>, cut: bool, held: usize) -> Canned {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, answer) = (listener.local_addr().unwrap(), Arc::new(answer.into()));
    let (arrivals, arrived) = watch::channel(0);
    let (arrivals, connections) = (Arc::new(arrivals), Arc::new(AtomicUsize::new(0)));
    let opened = Arc::clone(&connections);
    let task = tokio::spawn(async move {
        let mut open = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            opened.fetch_add(1, Ordering::SeqCst);
            open.spawn(serve(stream, Arc::clone(&answer), cut, held, Arc::clone(&arrivals)));
        }
    });
    Canned { address, connections, arrived, task: task.abort_handle() }
}

async fn serve(
    mut stream: TcpStream,
    answer: Arc<Vec<u8>>,
    cut: bool,
    held: usize,
    arrivals: Arc<watch::Sender<usize>>,
) {
    while read_request(&mut stream).await.is_some() {
        arrivals.send_modify(|arrived| *arrived += 1);
        let mut arrived = arrivals.subscribe();
        arrived.wait_for(|&arrived| arrived >= held).await.unwrap();
        if stream.write_all(&answer).await.is_err() || cut {
            return;
        }
    }
}

/// Reads one request; `None` when the client has disconnected.
async fn read_request(stream: &mut TcpStream) -> Option<()> {
    let mut read = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let length = stream.read(&mut buffer).await.ok().filter(|&length| length > 0)?;
        read.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&read);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let announced = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= announced.map_or(0, |length| length.parse().unwrap()) {
            return Some(());
        }
    }
}

fn call(streamed: bool) -> Call {
    let headers = vec![("x-request-id".to_owned(), "r".to_owned())];
    Call { path: CHAT.to_owned(), body: Bytes::from_static(b"{}"), headers, streamed, leaves_after: None }
}

#[tokio::test]
async fn a_real_stream_is_read_to_its_last_event() {
    let server = canned(CAPTURED, false, 0).await;
    let client = Client::new(server.address);
    for _ in 0..2 {
        let answer = client.stream(CHAT, "{}", &[]).await.unwrap().collect().await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.events.len(), answer.after_done), (200, 6, 0));
        assert!(answer.events[5].contains(r#""choices":[],"usage":{"prompt_tokens":14"#), "{}", answer.events[5]);
        assert!(answer.first_byte <= answer.total);
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1, "the second stream goes over the first one's connection");
}

#[tokio::test]
async fn an_error_in_place_of_a_stream_is_an_answer() {
    let refusal = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\nbusy";
    let server = canned(refusal, false, 0).await;
    let client = Client::new(server.address);
    let answer = client.stream(CHAT, "{}", &[]).await.unwrap().collect().await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.body[..], answer.events.len()), (503, &b"busy"[..], 0));
}

#[tokio::test]
async fn a_connection_is_kept_and_one_that_the_server_closed_is_replaced() {
    for (answer, connections) in [(KEPT, 1), (CLOSING, 3)] {
        let server = canned(answer, answer == CLOSING, 0).await;
        let client = Client::new(server.address);
        for _ in 0..3 {
            assert_eq!(client.post(CHAT, "{}", &[("x-a", "b")]).await.unwrap().body, "{}");
        }
        assert_eq!(server.connections.load(Ordering::SeqCst), connections);
    }
}

#[tokio::test]
async fn every_way_to_lose_an_answer_has_its_own_error() {
    let half = format!("{STREAM}data: {{\"choices\":[]}}\n\n");
    let server = canned(half, true, 0).await;
    let lost = Client::new(server.address).stream(CHAT, "{}", &[]).await.unwrap().collect().await.unwrap_err();
    assert!(matches!(lost.lost, Lost::Truncated { events: 1, .. }), "{lost}");
    assert!(lost.to_string().starts_with(&format!("POST {CHAT} of {}: the stream ended", server.address)), "{lost}");

    let server = canned(&CAPTURED[..700], true, 0).await;
    let lost = Client::new(server.address).stream(CHAT, "{}", &[]).await.unwrap().collect().await.unwrap_err();
    assert!(matches!(lost.lost, Lost::Reset { received: 1.., .. }), "{lost}");

    let server = canned("", true, 0).await;
    let lost = Client::new(server.address).post(CHAT, "{}", &[]).await.unwrap_err();
    assert!(matches!(lost.lost, Lost::Reset { received: 0, .. }), "{lost}");

    let server = canned(&CAPTURED[..700], false, 0).await;
    let client = Client::new(server.address).with_deadline(Duration::from_millis(100));
    let lost = client.stream(CHAT, "{}", &[]).await.unwrap().collect().await.unwrap_err();
    assert!(matches!(lost.lost, Lost::Timeout { received: 1.., .. }), "{lost}");

    let gone = server.address;
    drop(server);
    tokio::task::yield_now().await;
    let lost = Client::new(gone).get("/a b").await.unwrap_err();
    assert!(matches!(lost.lost, Lost::Request(_)), "{lost}");
}

#[tokio::test]
async fn a_failed_connection_names_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let lost = Client::new(address).get("/readyz").await.unwrap_err();
    assert!(lost.to_string().starts_with(&format!("GET /readyz of {address}: could not connect")), "{lost}");
}

#[tokio::test]
async fn a_load_does_not_wait_for_answers() {
    // No request is answered before all have arrived: a closed loop would never end.
    let load = Load { rate: 2000.0, duration: Duration::from_millis(20), outstanding_max: 40 };
    let server = canned(KEPT, false, 40).await;
    let tally = load.run(&Arc::new(Client::new(server.address)), |_| call(false)).await;
    assert_eq!((tally.ok(), tally.samples.len()), (40, 40), "{:?}", tally.examples);
    assert_eq!(tally.totals().len(), 40);
}

#[tokio::test]
async fn a_load_keeps_its_bound_and_counts_what_it_did_not_send() {
    let load = Load { rate: 1e6, duration: Duration::from_micros(20), outstanding_max: 5 };
    let server = canned(KEPT, false, usize::MAX).await;
    let client = Arc::new(Client::new(server.address).with_deadline(Duration::from_millis(500)));
    let tally = load.run(&client, |_| call(false)).await;
    assert_eq!(tally.failures(), BTreeMap::from([(Cause::Timeout, 5), (Cause::NotSent, 15)]), "{:?}", tally.examples);
    assert_eq!(*server.arrived.borrow(), 5);
}

#[tokio::test]
async fn a_load_counts_failures_by_cause() {
    let load = Load { rate: 1e6, duration: Duration::from_micros(4), outstanding_max: 4 };
    let token = "data: {\"choices\":[{\"text\":\"a\"}]}\n\n";
    let busy = "data: {\"error\": {\"message\": \"busy\", \"code\": 503}}\n\ndata: [DONE]\n\n";
    let cases = [
        (format!("{STREAM}{token}{busy}"), Some(Cause::ErrorEvent)),
        (format!("{STREAM}{token}"), Some(Cause::Truncated)),
        ("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n".to_owned(), Some(Cause::Status(503))),
        (String::new(), Some(Cause::Reset)),
        (format!("{STREAM}{token}data: [DONE]\n\n"), None),
    ];
    for (answer, cause) in cases {
        let server = canned(answer, true, 0).await;
        let tally = load.run(&Arc::new(Client::new(server.address)), |_| call(true)).await;
        assert_eq!(tally.failures(), cause.map(|cause| (cause, 4)).into_iter().collect(), "{:?}", tally.examples);
        assert!(tally.successes().all(|success| success.engine.as_deref() == Some("engine-7")));
    }
}
