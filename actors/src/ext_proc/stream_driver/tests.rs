//! One stream over time: timeouts, news, limits, and what is left when it is cut.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use murmuration::config::blueprint::RendererSettings;
use murmuration::event::Event;
use murmuration::request::Outcome;
use murmuration::time::Timestamp;
use murmuration_proto::ext_proc::{
    HeaderMap, HeaderValue, HttpBody, HttpHeaders, Kind, Metadata, Request, Response, Struct, Value,
};
use murmuration_proto::names;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::{iter, pending};

use super::*;
use crate::ext_proc::exchange::tests::settings;
use crate::ext_proc::fake::Table;
use crate::ext_proc::settings::{Limits, ResponsePath, Settings};
use crate::prepare::Renderer;
use crate::scheduler::TicketUpdate;

type Message = Result<ProcessingRequest, Status>;

fn shared(table: &Table, settings: Settings) -> Arc<Shared<Table>> {
    let epoch = tokio::time::Instant::now();
    let now = Arc::new(move || Timestamp::ZERO + epoch.elapsed());
    let announced = tokio::sync::watch::channel(None).1;
    Arc::new(Shared::new(table.clone(), (settings, announced), Arc::new(table.clone()), now))
}

fn drive<I: Stream<Item = Message> + Unpin>(table: &Table, settings: Settings, inbound: I) -> StreamDriver<Table, I> {
    StreamDriver::new(shared(table, settings), inbound, ConnectionId::default())
}

fn message(request: Request) -> Message {
    Ok(ProcessingRequest { request: Some(request), ..Default::default() })
}

fn headers(pairs: &[(&str, &str)], end_of_stream: bool) -> HttpHeaders {
    let header = |(key, value): &(&str, &str)| HeaderValue {
        key: (*key).into(),
        raw_value: (*value).into(),
        ..Default::default()
    };
    let headers = Some(HeaderMap { headers: pairs.iter().map(header).collect() });
    HttpHeaders { headers, end_of_stream, ..Default::default() }
}

fn head(end: bool) -> Message {
    let pairs = [(":path", "/v1/completions"), ("x-request-id", "r1"), ("traceparent", "00-theirs")];
    message(Request::RequestHeaders(headers(&pairs, end)))
}

fn chunk(bytes: &[u8], end_of_stream: bool) -> HttpBody {
    HttpBody { body: bytes.to_vec(), end_of_stream, ..Default::default() }
}

/// A whole request with its whole answer.
fn request_and_answer() -> Vec<Message> {
    let served = Value { kind: Some(Kind::StringValue("10.0.0.1:8000".into())) };
    let fields = [(names::DESTINATION_SERVED.to_owned(), served)].into();
    let metadata = Metadata {
        filter_metadata: [(names::LB_NAMESPACE.to_owned(), Struct { fields })].into(),
        ..Default::default()
    };
    let response = ProcessingRequest {
        metadata_context: Some(metadata),
        ..message(Request::ResponseHeaders(headers(&[(":status", "200")], false))).unwrap()
    };
    vec![
        head(false),
        message(Request::RequestBody(chunk(br#"{"model":"base","prompt":"x"}"#, true))),
        Ok(response),
        message(Request::ResponseBody(chunk(b"{}", false))),
        message(Request::ResponseBody(chunk(b"", true))),
    ]
}

async fn refused<I: Stream<Item = Message> + Unpin>(mut stream_driver: StreamDriver<Table, I>) -> (i32, String) {
    stream_driver.read_request().await.unwrap();
    let Some(Response::ImmediateResponse(answer)) = stream_driver.next().await.unwrap().unwrap().response else {
        panic!("not refused");
    };
    assert!(stream_driver.next().await.is_none(), "a refused stream ends in order");
    (answer.status.unwrap().code, answer.details)
}

#[tokio::test(start_paused = true)]
async fn a_scheduler_that_does_not_answer_in_time_is_503_and_leaves_no_ticket() {
    let table = Table { delay: Duration::from_secs(3_600), ..Table::default() };
    let refusal = refused(drive(&table, settings(), iter([head(true)]).chain(pending()))).await;
    assert_eq!(refusal, (503, "picker-busy".to_owned()));
    let told = table.told.lock().unwrap();
    assert!(told.open.is_empty() && matches!(told.events.as_slice(), [Event::Refused { .. }]));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_never_ends_is_408_after_its_idle_time() {
    let table = Table::default();
    let refusal = refused(drive(&table, settings(), iter([head(false)]).chain(pending()))).await;
    assert_eq!(refusal, (408, "request-too-slow".to_owned()));
    assert!(refused(drive(&table, settings(), pending())).await.0 == 408, "nor does one that never begins");
}

#[tokio::test]
async fn news_of_the_answer_reaches_the_ticket_in_order() {
    let table = Table::default();
    let mut stream_driver = drive(&table, settings(), iter(request_and_answer()));
    stream_driver.read_request().await.unwrap();
    assert_eq!(stream_driver.collect::<Vec<_>>().await.len(), 5);
    let told = table.told.lock().unwrap();
    let news = &told.closed[0];
    assert!(matches!(news[0], TicketUpdate::Served(_)) && news[1] == TicketUpdate::FirstToken);
    assert_eq!(news[2..], [TicketUpdate::Finished(Outcome::Completed, None)]);
    let Event::RequestFinished(finished) = &told.events[0] else { panic!("{:?}", told.events) };
    assert_eq!((finished.outcome, finished.response_bytes), (Outcome::Completed, 2));
}

#[tokio::test]
async fn the_watch_sees_the_stream_from_open_to_end_and_its_headers_go_on() {
    let table = Table::default();
    let mut stream_driver = drive(&table, settings(), iter(request_and_answer()));
    stream_driver.read_request().await.unwrap();
    let Some(Response::RequestHeaders(answer)) = stream_driver.next().await.unwrap().unwrap().response else {
        panic!("no answer to the headers");
    };
    let set = answer.response.unwrap().header_mutation.unwrap().set_headers;
    let header = set.iter().filter_map(|one| one.header.as_ref()).find(|one| one.key == "traceparent");
    assert_eq!(header.unwrap().raw_value, b"00-ours");
    drop(stream_driver);
    let expected = ["opened", r#"began r1 Some("00-theirs")"#, "asked base", "decided 10.0.0.1:8000", "ended"];
    assert_eq!(table.told.lock().unwrap().watched, expected);
}

#[tokio::test]
async fn wherever_a_stream_is_cut_its_ticket_closes_and_its_end_is_reported_once() {
    for response_path in [ResponsePath::Stay, ResponsePath::Leave] {
        for (sent, taken) in (1..=5).flat_map(|sent| (0..=6).map(move |taken| (sent, taken))) {
            let table = Table::default();
            let mut messages = request_and_answer();
            messages.truncate(sent);
            messages.push(Err(Status::cancelled("the proxy is gone")));
            let settings = Settings { response_path, ..settings() };
            let mut stream_driver = drive(&table, settings, iter(messages));
            let begun = stream_driver.read_request().await;
            for _ in 0..taken {
                drop(stream_driver.next().await);
            }
            drop(stream_driver);
            let told = table.told.lock().unwrap();
            assert_eq!(told.events.len(), 1, "{sent} {taken}");
            // A replica that left after the last piece was taken leaves its ticket to the engine's reports.
            let left = response_path == ResponsePath::Leave && begun.is_ok() && taken >= 2;
            assert_eq!(told.open.len(), usize::from(left), "{sent} {taken}");
        }
    }
}

#[tokio::test]
async fn a_broken_sequence_is_reported_as_a_status_and_closes_the_ticket() {
    let table = Table::default();
    let mut messages = request_and_answer();
    messages.truncate(2);
    messages.push(head(true));
    let mut stream_driver = drive(&table, settings(), iter(messages));
    stream_driver.read_request().await.unwrap();
    let replies: Vec<_> = stream_driver.collect().await;
    assert!(matches!(replies.as_slice(), [Ok(_), Ok(_), Err(status)] if status.code() == Code::InvalidArgument));
    assert_eq!(table.told.lock().unwrap().closed, [[TicketUpdate::Finished(Outcome::Abandoned, None)]]);
}

fn budgeted(body_bytes_held: usize) -> Settings {
    let settings = settings();
    let limits = Limits { body_bytes_held, ..settings.limits };
    Settings { limits, ..settings }
}

/// Yields a message after each interval.
fn dripping(every: Duration, messages: Vec<Message>) -> impl Stream<Item = Message> + Unpin {
    Box::pin(iter(messages).then(move |message| async move {
        tokio::time::sleep(every).await;
        message
    }))
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_is_408_long_before_its_idle_time_and_says_why() {
    let table = Table::default();
    let drops = (0..10_000).map(|_| message(Request::RequestBody(chunk(b" ", false))));
    let inbound = dripping(Duration::from_secs(1), std::iter::once(head(false)).chain(drops).collect());
    let begun = tokio::time::Instant::now();
    let refusal = refused(drive(&table, settings(), inbound)).await;
    assert_eq!(refusal, (408, "request-too-slow".to_owned()));
    assert!(begun.elapsed() <= Duration::from_secs(13), "{:?}", begun.elapsed());
    let told = table.told.lock().unwrap();
    let Event::Refused { sentence, .. } = &told.events[0] else { panic!("{:?}", told.events) };
    assert!(sentence.contains("bytes of its body in") && sentence.contains("1024 bytes/s"), "{sentence}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_fast_enough_and_never_whole_is_408_at_its_deadline() {
    let table = Table::default();
    let chunks = (0..10_000).map(|_| message(Request::RequestBody(chunk(&[b' '; 2_000], false))));
    let inbound = dripping(Duration::from_secs(1), std::iter::once(head(false)).chain(chunks).collect());
    let begun = tokio::time::Instant::now();
    assert_eq!(refused(drive(&table, settings(), inbound)).await.0, 408);
    assert_eq!(begun.elapsed().as_secs(), settings().limits.arrival_max.as_secs());
}

#[tokio::test(start_paused = true)]
async fn slow_requests_give_their_permits_to_new_ones() {
    let table = Table::default();
    let limits = Limits { streams_max: 20, arriving_per_connection: 20, ..settings().limits };
    let shared = shared(&table, Settings { limits, ..settings() });
    let mut held = JoinSet::new();
    for number in 0..20 {
        let inbound = iter([head(false)]).chain(pending::<Message>());
        let mut stream_driver = StreamDriver::new(shared.clone(), inbound, ConnectionId(number));
        held.spawn(async move {
            stream_driver.read_request().await.unwrap();
            stream_driver.next().await.unwrap().unwrap()
        });
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    let early = StreamDriver::new(shared.clone(), iter(request_and_answer()), ConnectionId(99));
    assert_eq!(refused(early).await, (503, "too-many-streams".to_owned()), "no request has stalled for long enough");
    tokio::time::sleep(Duration::from_secs(3)).await;
    for _ in 0..20 {
        let mut quick = StreamDriver::new(shared.clone(), iter(request_and_answer()), ConnectionId(99));
        quick.read_request().await.unwrap();
        let answer = quick.next().await.unwrap().unwrap().response;
        assert!(matches!(answer, Some(Response::RequestHeaders(_))), "{answer:?}");
    }
    let mut gave_way = 0;
    while held.try_join_next().is_some() {
        gave_way += 1;
    }
    assert_eq!(gave_way, 1, "one permit was enough for all of them in turn");
}

#[tokio::test(start_paused = true)]
async fn bodies_over_the_budget_wait_for_room_and_then_are_503() {
    let table = Table::default();
    let shared = shared(&table, budgeted(1_000));
    let body = |bytes: usize| message(Request::RequestBody(chunk(&vec![b' '; bytes], false)));
    let first = iter([head(false), body(900)]).chain(pending::<Message>());
    let mut first = StreamDriver::new(shared.clone(), first, ConnectionId(1));
    assert!(timeout(Duration::from_secs(1), first.read_request()).await.is_err(), "it waits for the rest");
    assert_eq!(table.told.lock().unwrap().bytes_held, 900);

    let whole = || vec![head(false), message(Request::RequestBody(chunk(&[b' '; 200], true)))];
    let second = StreamDriver::new(shared.clone(), iter(whole()), ConnectionId(2));
    assert_eq!(refused(second).await, (503, "too-many-bytes".to_owned()));

    drop(first);
    assert_eq!(table.told.lock().unwrap().bytes_held, 0);
    let third = StreamDriver::new(shared.clone(), iter(whole()), ConnectionId(3));
    assert_eq!(refused(third).await.1, "bad-request", "there is room, and blanks are no JSON");
    assert_eq!(table.told.lock().unwrap().bytes_held, 0, "all of it is given back");
}

#[tokio::test]
async fn room_is_kept_until_the_proxy_took_the_last_piece() {
    let table = Table::default();
    let mut stream_driver = drive(&table, budgeted(1 << 20), iter(request_and_answer()));
    stream_driver.read_request().await.unwrap();
    let held = || table.told.lock().unwrap().bytes_held;
    let body = 29;
    assert_eq!(held(), body);
    stream_driver.next().await.unwrap().unwrap();
    stream_driver.next().await.unwrap().unwrap();
    assert_eq!(held(), body, "the transport may still hold the last piece");
    stream_driver.next().await.unwrap().unwrap();
    assert_eq!(held(), 0, "the answer is under way");
}

#[tokio::test]
async fn a_long_body_is_read_on_another_thread() {
    let table = Table::default();
    let limits = Limits { read_inline_bytes: 10, ..settings().limits };
    let mut stream_driver = drive(&table, Settings { limits, ..settings() }, iter(request_and_answer()));
    stream_driver.read_request().await.unwrap();
    assert_eq!(stream_driver.collect::<Vec<_>>().await.len(), 5);
    assert!(table.told.lock().unwrap().watched.contains(&"asked base".to_owned()));

    let broken = vec![head(false), message(Request::RequestBody(chunk(b"{\"model\":1,   ", true)))];
    assert_eq!(refused(drive(&table, Settings { limits, ..settings() }, iter(broken))).await.1, "bad-request");
}

#[tokio::test]
async fn a_local_reply_passes_even_if_no_permit_is_free() {
    let table = Table::default();
    let limits = Limits { streams_max: 0, ..settings().limits };
    let reply = vec![
        message(Request::ResponseHeaders(headers(&[(":status", "403")], false))),
        message(Request::ResponseBody(chunk(b"RBAC: access denied", true))),
    ];
    let mut stream_driver = drive(&table, Settings { limits, ..settings() }, iter(reply));
    stream_driver.read_request().await.unwrap();
    let replies: Vec<_> = stream_driver.map(|reply| reply.unwrap().response.unwrap()).collect().await;
    assert!(matches!(replies.as_slice(), [Response::ResponseHeaders(_), Response::ResponseBody(_)]), "{replies:?}");
    assert_eq!(table.told.lock().unwrap().events, [Event::LocalReply { status: Some(403) }]);
}

#[tokio::test]
async fn a_prompt_is_counted_between_its_body_and_its_decision() {
    let body = r#"[{"token_ids":[1,2,3,4,5,6,7]}]"#;
    let port = crate::prepare::tests::renderer(axum::http::StatusCode::OK, body, Duration::ZERO).await;
    let second = Duration::from_secs(1);
    let renderer = RendererSettings { host: "localhost".into(), port, timeout: second, media_timeout: second };
    for (producers, tokens) in [(vec![Renderer::producer(renderer)], 7), (Vec::new(), 1)] {
        let table = Table::default();
        let asked = !producers.is_empty();
        let settings = Settings { producers, ..settings() };
        let mut stream_driver = drive(&table, settings, iter(request_and_answer()));
        stream_driver.read_request().await.unwrap();
        assert_eq!(table.told.lock().unwrap().tokens, [tokens]);
        let prepared = Event::Prepared { producer: "token-producer", result: "ok" };
        assert_eq!(table.told.lock().unwrap().events.contains(&prepared), asked);
    }
}
