//! A stream and its time: patience, idleness, news, and what is left when it is cut.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use murmuration::event::Event;
use murmuration::request::Outcome;
use murmuration::time::Timestamp;
use murmuration_proto::ext_proc::{
    HeaderMap, HeaderValue, HttpBody, HttpHeaders, Kind, Metadata, Request, Response, Struct, Value,
};
use murmuration_proto::names;
use tokio::sync::Semaphore;
use tokio_stream::{iter, pending};

use super::*;
use crate::ext_proc::dice::Dice;
use crate::ext_proc::exchange::tests::settings;
use crate::ext_proc::fake::Table;
use crate::ext_proc::settings::ResponsePath;
use crate::ext_proc::settings::Settings;
use crate::scheduler::TicketNews;

type Message = Result<ProcessingRequest, Status>;

fn shared(table: &Table, settings: Settings) -> Arc<Shared<Table>> {
    let epoch = tokio::time::Instant::now();
    Arc::new(Shared {
        asking: table.clone(),
        settings: Arc::new(settings),
        witness: Arc::new(table.clone()),
        now: Arc::new(move || Timestamp::ZERO + epoch.elapsed()),
        dice: Dice::default(),
    })
}

fn attend<I: Stream<Item = Message> + Unpin>(table: &Table, settings: Settings, inbound: I) -> Attendance<Table, I> {
    let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().ok();
    Attendance::new(shared(table, settings), inbound, permit)
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
fn conversation() -> Vec<Message> {
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

async fn refused<I: Stream<Item = Message> + Unpin>(mut attendance: Attendance<Table, I>) -> (i32, String) {
    attendance.hear_request().await.unwrap();
    let Some(Response::ImmediateResponse(answer)) = attendance.next().await.unwrap().unwrap().response else {
        panic!("not refused");
    };
    assert!(attendance.next().await.is_none(), "a refused stream ends in order");
    (answer.status.unwrap().code, answer.details)
}

#[tokio::test(start_paused = true)]
async fn a_scheduler_that_does_not_answer_in_time_is_503_and_leaves_no_ticket() {
    let table = Table { thinks_for: Duration::from_secs(3_600), ..Table::default() };
    let refusal = refused(attend(&table, settings(), iter([head(true)]).chain(pending()))).await;
    assert_eq!(refusal, (503, "picker-busy".to_owned()));
    let told = table.told.lock().unwrap();
    assert!(told.open.is_empty() && matches!(told.events.as_slice(), [Event::Refused { .. }]));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_never_ends_is_400_after_its_idle_time() {
    let table = Table::default();
    let refusal = refused(attend(&table, settings(), iter([head(false)]).chain(pending()))).await;
    assert_eq!(refusal, (400, "bad-request".to_owned()));
    assert!(refused(attend(&table, settings(), pending())).await.0 == 400, "nor does one that never begins");
}

#[tokio::test]
async fn news_of_the_answer_reaches_the_books_in_order() {
    let table = Table::default();
    let mut attendance = attend(&table, settings(), iter(conversation()));
    attendance.hear_request().await.unwrap();
    assert_eq!(attendance.collect::<Vec<_>>().await.len(), 5);
    let told = table.told.lock().unwrap();
    let news = &told.closed[0];
    assert!(matches!(news[0], TicketNews::Served(_)) && news[1] == TicketNews::FirstToken);
    assert_eq!(news[2..], [TicketNews::Finished(Outcome::Completed, None)]);
    let Event::RequestFinished(finished) = &told.events[0] else { panic!("{:?}", told.events) };
    assert_eq!((finished.outcome, finished.response_bytes), (Outcome::Completed, 2));
}

#[tokio::test]
async fn the_watch_sees_the_stream_from_open_to_end_and_its_headers_go_on() {
    let table = Table::default();
    let mut attendance = attend(&table, settings(), iter(conversation()));
    attendance.hear_request().await.unwrap();
    let Some(Response::RequestHeaders(answer)) = attendance.next().await.unwrap().unwrap().response else {
        panic!("no answer to the headers");
    };
    let set = answer.response.unwrap().header_mutation.unwrap().set_headers;
    let header = set.iter().filter_map(|one| one.header.as_ref()).find(|one| one.key == "traceparent");
    assert_eq!(header.unwrap().raw_value, b"00-ours");
    drop(attendance);
    let expected = ["opened", r#"began r1 Some("00-theirs")"#, "asked base", "decided 10.0.0.1:8000", "ended"];
    assert_eq!(table.told.lock().unwrap().watched, expected);
}

#[tokio::test]
async fn wherever_a_stream_is_cut_its_ticket_closes_and_its_life_is_told_once() {
    for response_path in [ResponsePath::Stay, ResponsePath::Leave] {
        for (shown, heard) in (1..=5).flat_map(|shown| (0..=6).map(move |heard| (shown, heard))) {
            let table = Table::default();
            let mut messages = conversation();
            messages.truncate(shown);
            messages.push(Err(Status::cancelled("the proxy is gone")));
            let settings = Settings { response_path, ..settings() };
            let mut attendance = attend(&table, settings, iter(messages));
            let begun = attendance.hear_request().await;
            for _ in 0..heard {
                drop(attendance.next().await);
            }
            drop(attendance);
            let told = table.told.lock().unwrap();
            assert_eq!(told.events.len(), 1, "{shown} {heard}");
            // A replica that left after the last piece was taken leaves its ticket to the engine's reports.
            let left = response_path == ResponsePath::Leave && begun.is_ok() && heard >= 2;
            assert_eq!(told.open.len(), usize::from(left), "{shown} {heard}");
        }
    }
}

#[tokio::test]
async fn a_broken_sequence_is_told_as_a_status_and_closes_the_ticket() {
    let table = Table::default();
    let mut messages = conversation();
    messages.truncate(2);
    messages.push(head(true));
    let mut attendance = attend(&table, settings(), iter(messages));
    attendance.hear_request().await.unwrap();
    let said: Vec<_> = attendance.collect().await;
    assert!(matches!(said.as_slice(), [Ok(_), Ok(_), Err(status)] if status.code() == Code::InvalidArgument));
    assert_eq!(table.told.lock().unwrap().closed, [[TicketNews::Finished(Outcome::Abandoned, None)]]);
}
