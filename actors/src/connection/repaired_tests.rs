//! The connection between a client of raw frames and the real HTTP library.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinSet;

use super::super::huffman;
use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const BAD: &str = "outbound|9002||picker.ns.svc.cluster.local";
const GOOD: &str = "outbound-9002--picker.ns.svc.cluster.local";

type Events = Arc<Mutex<Vec<Event>>>;

fn event_sink() -> (EventSink, Events) {
    let events = Events::default();
    let recorded = events.clone();
    (EventSink::new("ext-proc", move |event| recorded.lock().unwrap().push(event.clone())), events)
}

/// How a field is written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Spelling {
    Indexed,
    WithoutIndex,
    Never,
}

/// A client's HPACK encoder: it writes literals or refers to its dynamic table, as RFC 7541 allows.
#[derive(Default)]
struct Encoder {
    table: Vec<(String, String)>,
}

impl Encoder {
    fn field(&mut self, name: &str, value: &str, spelling: Spelling, coded: bool) -> Vec<u8> {
        if let Some(at) = self.table.iter().rposition(|entry| (entry.0.as_str(), entry.1.as_str()) == (name, value)) {
            // The newest entry is 62.
            return vec![0x80 | (62 + self.table.len() - 1 - at) as u8];
        }
        let shared = match name {
            ":authority" => 1,
            ":method" => 2,
            ":path" => 4,
            ":scheme" => 6,
            _ => 0,
        };
        let mark = match spelling {
            Spelling::Indexed => 0x40,
            Spelling::WithoutIndex => 0x00,
            Spelling::Never => 0x10,
        };
        let mut field = vec![mark | shared];
        if shared == 0 {
            field.extend(string(name, coded));
        }
        field.extend(string(value, coded));
        if spelling == Spelling::Indexed {
            self.table.push((name.to_owned(), value.to_owned()));
        }
        field
    }
}

fn string(text: &str, coded: bool) -> Vec<u8> {
    let bytes = if coded { huffman::encode(text.as_bytes()) } else { text.as_bytes().to_vec() };
    assert!(bytes.len() < 0x7f);
    [&[bytes.len() as u8 | if coded { 0x80 } else { 0 }], &bytes[..]].concat()
}

fn headers(stream: u32, block: &[u8]) -> Vec<u8> {
    let length = (block.len() as u32).to_be_bytes();
    [&length[1..], &[1, 5], &stream.to_be_bytes(), block].concat()
}

/// The requests that the library reads from these bytes, and whether the connection ended without an error.
async fn served(bytes: Vec<u8>, piece: usize, repairs: bool) -> (Vec<http::Request<()>>, bool) {
    let (mut client, server) = duplex(64);
    let mut writing = JoinSet::new();
    writing.spawn(async move {
        for piece in bytes.chunks(piece) {
            if client.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        client.shutdown().await.ok();
        let mut answers = Vec::new();
        client.read_to_end(&mut answers).await.ok();
    });
    match repairs {
        true => requests(Repaired::new(server, None, event_sink().0)).await,
        false => requests(server).await,
    }
}

async fn requests<T: AsyncRead + AsyncWrite + Unpin>(io: T) -> (Vec<http::Request<()>>, bool) {
    let (mut seen, mut well) = (Vec::new(), true);
    let mut connection = h2::server::handshake(io).await.unwrap();
    while let Some(next) = connection.accept().await {
        match next {
            Ok((request, mut answer)) => {
                seen.push(request.map(drop));
                answer.send_response(http::Response::new(()), true).ok();
            }
            Err(_) => well = false,
        }
    }
    (seen, well)
}

/// A connection's bytes: requests with these authorities and one more field each.
fn connection(requests: &[(String, String, Spelling, bool)]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    let mut bytes = [PREFACE, SETTINGS].concat();
    for (nth, (authority, value, spelling, coded)) in requests.iter().enumerate() {
        let mut block = encoder.field(":method", "POST", *spelling, *coded);
        block.extend(encoder.field(":scheme", "http", Spelling::WithoutIndex, *coded));
        block.extend(encoder.field(":authority", authority, *spelling, *coded));
        block.extend(encoder.field(":path", "/envoy.service.ext_proc.v3.ExternalProcessor/Process", *spelling, *coded));
        block.extend(encoder.field("x-one", value, *spelling, *coded));
        bytes.extend(headers(1 + 2 * nth as u32, &block));
    }
    bytes
}

fn seen(requests: &[http::Request<()>]) -> Vec<(String, String)> {
    let one = |request: &http::Request<()>| {
        let authority = request.uri().authority().unwrap().as_str().to_owned();
        (authority, request.headers()["x-one"].to_str().unwrap().to_owned())
    };
    requests.iter().map(one).collect()
}

#[tokio::test]
async fn without_the_repair_the_library_refuses_istios_name() {
    let bytes = connection(&[(BAD.to_owned(), "1".to_owned(), Spelling::Indexed, true)]);
    let (requests, _) = served(bytes, 1_000, false).await;
    assert!(requests.is_empty(), "if the library accepts it now, this folder can be removed");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_library_sees_every_field_unchanged_except_a_repaired_authority(
        requests in proptest::collection::vec(
            (prop_oneof![Just(BAD.to_owned()), Just(GOOD.to_owned()), Just("[::1]:9002".to_owned()), "[a-z|: /\\\\\u{e9}]{1,20}x"],
             "[a-z]{1,4}",
             prop_oneof![Just(Spelling::Indexed), Just(Spelling::WithoutIndex), Just(Spelling::Never)],
             any::<bool>()), 1..8),
        piece in 1..200_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (seen_requests, well) = runtime.block_on(served(connection(&requests), piece, true));
        let expected: Vec<(String, String)> = requests.iter().map(|(authority, value, ..)| {
            let is_good = http::uri::Authority::try_from(authority.as_bytes()).is_ok();
            let repair = |byte: u8| if byte.is_ascii_alphanumeric() || byte == b'.' { char::from(byte) } else { '-' };
            let repaired = authority.bytes().map(repair).collect();
            (if is_good { authority.clone() } else { repaired }, value.clone())
        }).collect();
        prop_assert!(well);
        prop_assert_eq!(seen(&seen_requests), expected);
    }
}

#[tokio::test]
async fn each_repair_emits_an_event() {
    let (event_sink, events) = event_sink();
    let bytes = connection(&[(BAD.to_owned(), "1".to_owned(), Spelling::Indexed, true)]);
    let (mut client, server) = duplex(4_096);
    client.write_all(&bytes).await.unwrap();
    drop(client);
    let mut read = Vec::new();
    Repaired::new(server, None, event_sink).read_to_end(&mut read).await.unwrap();
    assert_eq!(*events.lock().unwrap(), [Event::AuthorityRepaired { port: "ext-proc" }]);
}

#[tokio::test]
async fn a_partial_frame_is_passed_on_when_the_client_closes() {
    let bytes = connection(&[(BAD.to_owned(), "1".to_owned(), Spelling::Indexed, true)]);
    for end in 0..bytes.len() - 1 {
        let (mut client, server) = duplex(4_096);
        client.write_all(&bytes[..end]).await.unwrap();
        drop(client);
        let mut read = Vec::new();
        Repaired::new(server, None, event_sink().0).read_to_end(&mut read).await.unwrap();
        assert_eq!(read, bytes[..end]);
    }
}

/// Waits for the end of the connection. Returns how long that took and why it ended.
async fn ended(mut connection: Repaired<DuplexStream>) -> (Duration, io::ErrorKind) {
    let began = Instant::now();
    let error = connection.read_to_end(&mut Vec::new()).await.unwrap_err();
    (began.elapsed(), error.kind())
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_sends_the_preface_is_disconnected() {
    let whole = [PREFACE, SETTINGS].concat();
    for sent in [0, 1, 23] {
        let (mut client, server) = duplex(4_096);
        client.write_all(&whole[..sent]).await.unwrap();
        let (event_sink, events) = event_sink();
        let (after, kind) = ended(Repaired::new(server, None, event_sink)).await;
        assert_eq!((after.as_secs(), kind), (PREFACE_TIMEOUT.as_secs(), io::ErrorKind::TimedOut));
        assert_eq!(*events.lock().unwrap(), [Event::ConnectionClosed { port: "ext-proc", why: "no-preface" }]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_only_answers_pings_ends_and_one_with_requests_does_not() {
    let ping = [0, 0, 8, 6, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let data = [0, 0, 1, 0, 0, 0, 0, 0, 1, 42];
    for (frame, stays_open) in [(&ping[..], false), (&data[..], true)] {
        let (mut client, server) = duplex(1 << 20);
        client.write_all(&[PREFACE, SETTINGS].concat()).await.unwrap();
        let mut connection = Repaired::new(server, Some(IDLE_MAX), event_sink().0);
        let mut reading = JoinSet::new();
        reading.spawn(async move { connection.read_to_end(&mut Vec::new()).await });
        for _ in 0..1_000 {
            sleep(IDLE_MAX / 100).await;
            if client.write_all(frame).await.is_err() {
                break;
            }
        }
        assert_eq!(reading.try_join_next().is_none(), stays_open);
    }
}

#[tokio::test(start_paused = true)]
async fn without_an_idle_limit_silence_does_not_end_a_connection() {
    let (mut client, server) = duplex(4_096);
    client.write_all(&[PREFACE, SETTINGS].concat()).await.unwrap();
    let mut connection = Repaired::new(server, None, event_sink().0);
    let mut reading = JoinSet::new();
    reading.spawn(async move { connection.read_to_end(&mut Vec::new()).await });
    let silent = tokio::time::timeout(IDLE_MAX * 10, reading.join_next()).await;
    assert!(silent.is_err());
}
