//! The message sequence, row by row.

use std::time::Duration;

use murmuration_actors::ext_proc::{Limits, ResponsePath};
use murmuration_proto::ext_proc::{ProcessingRequest, Response};
use tonic::Code;

use murmuration_kit::ext_proc::expect::*;
use murmuration_kit::{Config, Replica};

const POOL: [&str; 1] = ["127.0.0.1:7"];

async fn replica() -> Replica {
    Replica::start(Config::default(), &POOL).await
}

#[tokio::test]
async fn headers_with_a_body_to_come_are_not_answered_yet() {
    let replica = replica().await;
    let mut stream = replica.sends([post(&[])]).await;
    stream.close();
    assert!(stream.receive().await.is_none(), "no message was sent before the proxy closed");
    assert_eq!(replica.open_tickets().await, 0);
}

#[tokio::test]
async fn headers_alone_are_answered_with_headers_alone() {
    let replica = replica().await;
    let mut stream = replica.sends([get()]).await;
    let head = stream.answer().await;
    assert_eq!((destination(&head).as_str(), value(&head, "content-length")), (POOL[0], None));
    stream.close();
    assert!(stream.receive().await.is_none());
}

#[tokio::test]
async fn body_chunks_are_gathered_and_not_answered_yet() {
    let replica = replica().await;
    let mut stream = replica.sends([post(&[]), request_body(COMPLETION, false)]).await;
    stream.close();
    assert!(stream.receive().await.is_none());
}

#[tokio::test]
async fn the_end_of_the_body_is_answered_with_headers_and_then_pieces() {
    let replica = replica().await;
    let mut stream = replica.sends([post(&[])]).await;
    for chunk in COMPLETION.chunks(7) {
        stream.send(request_body(chunk, false)).await;
    }
    stream.send(request_body(b"", true)).await;
    stream.send(request_body(b"late and ignored", true)).await;
    assert_eq!(destination(&stream.answer().await), POOL[0]);
    let last = stream.answer().await;
    assert_eq!((piece(&last).body.as_slice(), piece(&last).end_of_stream), (COMPLETION, true));
    stream.close();
    assert!(stream.receive().await.is_none());
}

#[tokio::test]
async fn an_empty_body_is_one_empty_piece() {
    let (head, pieces) = replica().await.ask(post(&[]), b"").await;
    assert_eq!(value(&head, "content-length"), None);
    assert_eq!((pieces.len(), piece(&pieces[0]).body.len()), (1, 0));
}

#[tokio::test]
async fn pieces_are_at_most_62_000_bytes_and_only_the_last_one_ends() {
    let prompt = "x".repeat(450_000);
    let body = format!(r#"{{"model":"base","prompt":"{prompt}"}}"#).into_bytes();
    let (_, pieces) = replica().await.ask(post(&[]), &body).await;
    assert!(pieces.iter().all(|one| (1..=62_000).contains(&piece(one).body.len())));
    assert_eq!(pieces.iter().flat_map(|one| piece(one).body.clone()).collect::<Vec<u8>>(), body);
    assert_eq!(pieces.iter().filter(|one| piece(one).end_of_stream).count(), 1);
}

#[tokio::test]
async fn content_length_is_that_of_the_body_that_is_sent_on() {
    let replica = replica().await;
    let (head, _) = replica.ask(post(&[]), COMPLETION).await;
    assert_eq!(value(&head, "content-length"), Some(COMPLETION.len().to_string()));
    let (head, pieces) = replica.ask(post(&[("x-llm-d-model-name-rewrite", "longer-name")]), COMPLETION).await;
    let sent: usize = pieces.iter().map(|one| piece(one).body.len()).sum();
    assert_eq!(value(&head, "content-length"), Some(sent.to_string()));
    assert_eq!(sent, COMPLETION.len() + "longer-name".len() - "base".len());
}

#[tokio::test]
async fn trailers_end_the_request_and_follow_the_body() {
    let replica = replica().await;
    let mut stream = replica.sends([post(&[]), request_body(COMPLETION, false), request_trailers()]).await;
    destination(&stream.answer().await);
    assert!(!piece(&stream.answer().await).end_of_stream);
    assert!(matches!(stream.answer().await.response, Some(Response::RequestTrailers(_))));
}

#[tokio::test]
async fn response_headers_are_answered_at_once() {
    let (_replica, mut stream) = replica().await.into_asked().await;
    stream.send(response_headers(&[(":status", "204")], true)).await;
    assert!(removed(&stream.answer().await).is_empty());
    assert!(stream.receive().await.is_none(), "an answer of headers alone is complete");
}

#[tokio::test]
async fn each_chunk_of_a_streamed_answer_is_passed_on_at_once() {
    let (_replica, mut stream) = replica().await.into_asked().await;
    stream.send(streaming()).await;
    stream.answer().await;
    for chunk in [": keep-alive\n\n", "data: {\"cho", "ices\":[]}\n\n", "", "data: [DONE]\n\n"] {
        stream.send(response_body(chunk.as_bytes(), false)).await;
        let answer = stream.answer().await;
        assert_eq!((piece(&answer).body.as_slice(), piece(&answer).end_of_stream), (chunk.as_bytes(), false));
    }
}

#[tokio::test]
async fn an_answer_in_one_document_is_passed_on_at_once_too() {
    let (_replica, mut stream) = replica().await.into_asked().await;
    stream.send(json()).await;
    stream.answer().await;
    stream.send(response_body(&[b' '; 100_000], false)).await;
    assert_eq!(piece(&stream.answer().await).body.len(), 62_000);
    assert_eq!(piece(&stream.answer().await).body.len(), 38_000);
}

#[tokio::test]
async fn response_trailers_end_the_stream_in_order() {
    let (replica, mut stream) = replica().await.into_asked().await;
    stream.send(json()).await;
    stream.send(response_body(b"{}", false)).await;
    stream.send(response_trailers()).await;
    stream.answer().await;
    assert!(!piece(&stream.answer().await).end_of_stream);
    assert!(matches!(stream.answer().await.response, Some(Response::ResponseTrailers(_))));
    assert!(stream.receive().await.is_none());
    replica.until(|figures| figures.completed == 1).await;
}

#[tokio::test]
async fn an_error_is_answered_at_once_and_ends_the_stream() {
    let replica = replica().await;
    let mut stream = replica.sends([post(&[]), request_body(br#"{"model":"#, true)]).await;
    let (status, _, body) = refusal(&stream.answer().await);
    assert_eq!(status, 400);
    assert!(body.starts_with("inference error: BadRequest - "), "{body}");
    assert!(stream.receive().await.is_none());
}

#[tokio::test]
async fn leaving_closes_the_stream_in_order_after_the_last_piece() {
    let replica = Replica::start(Config { response_path: ResponsePath::Leave, ..Config::default() }, &POOL).await;
    let mut stream = replica.open_stream();
    let (_, pieces) = stream.ask(post(&[]), COMPLETION).await;
    assert!(piece(&pieces[0]).end_of_stream);
    assert!(stream.receive().await.is_none(), "the stream ends in order, and Envoy continues without it");
    assert_eq!(replica.open_tickets().await, 1, "the engine's own reports close it");
}

#[tokio::test]
async fn a_sequence_out_of_order_is_an_error_and_leaves_no_ticket() {
    let replica = replica().await;
    let mut stream = replica.sends([request_body(COMPLETION, true)]).await;
    let status = stream.next().await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("request body came before the request's headers"), "{status}");

    let mut stream = replica.asked().await;
    stream.send(post(&[])).await;
    assert!(stream.next().await.unwrap_err().message().contains("after the request was sent on"));

    let mut stream = replica.sends([ProcessingRequest::default()]).await;
    assert!(stream.next().await.is_err());
    replica.until(|figures| figures.in_flight.is_empty()).await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let replica = Replica::start(Config { body_bytes: 1_000, ..Config::default() }, &POOL).await;
    let mut stream =
        replica.sends([post(&[]), request_body(&[b' '; 600], false), request_body(&[b' '; 600], false)]).await;
    assert_eq!(refusal(&stream.answer().await).0, 413, "refused before the body ends");
}

#[tokio::test]
async fn a_stream_over_the_limit_is_503() {
    let replica = Replica::start(Config { streams_max: 1, ..Config::default() }, &POOL).await;
    let first = replica.asked().await;
    let mut second = replica.sends([get()]).await;
    let (status, reason, _) = refusal(&second.answer().await);
    assert_eq!((status, reason.as_str()), (503, "too-many-streams"));
    assert!(second.receive().await.is_none());
    drop(first);
    replica.until(|figures| figures.in_flight.is_empty()).await;
    assert_eq!(destination(&replica.reply(get()).await), POOL[0]);
}

#[tokio::test]
async fn a_local_reply_of_the_proxy_is_let_through_in_any_state() {
    let replica = replica().await;
    for requests in [vec![], vec![post(&[])], vec![post(&[]), request_body(COMPLETION, false)]] {
        let mut stream = replica.open_stream();
        for message in requests {
            stream.send(message).await;
        }
        stream.send(response_headers(&[(":status", "403"), ("content-type", "text/plain")], false)).await;
        let head = stream.answer().await;
        assert!(answered(&head).response.as_ref().unwrap().header_mutation.is_none());
        stream.send(response_body(b"RBAC: access denied", true)).await;
        assert_eq!(piece(&stream.answer().await).body, b"RBAC: access denied");
        assert!(stream.receive().await.is_none(), "the stream ends in order");
    }
    replica.until_metric("murmuration_local_replies_total{status=\"403\"}", 1).await;
    assert_eq!(replica.open_tickets().await, 0);
}

#[tokio::test]
async fn a_slow_body_is_408() {
    let limits = Limits { arrival_max: Duration::from_millis(300), ..Limits::default() };
    let replica = Replica::start(Config { limits, ..Config::default() }, &POOL).await;
    let mut stream = replica.sends([post(&[]), request_body(b"{", false)]).await;
    let (status, reason, body) = refusal(&stream.answer().await);
    assert_eq!((status, reason.as_str()), (408, "request-too-slow"));
    assert!(body.starts_with("inference error: RequestTimeout - the request came too slowly: 1 bytes"), "{body}");
}

#[tokio::test]
async fn slow_streams_do_not_keep_others_out() {
    let replica = Replica::start(Config { streams_max: 4, ..Config::default() }, &POOL).await;
    let mut slow: Vec<_> = (0..4).map(|_| replica.open_stream()).collect();
    for stream in &slow {
        stream.send(post(&[])).await;
    }
    // The oldest stream gives way after two seconds.
    let answer = loop {
        let mut new = replica.sends([get()]).await;
        let answer = new.answer().await;
        if !matches!(answer.response, Some(Response::ImmediateResponse(_))) {
            break answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(destination(&answer), POOL[0]);
    assert_eq!(refusal(&slow[0].answer().await).1, "request-too-slow");
}

#[tokio::test]
async fn a_body_over_the_budget_of_all_streams_is_503() {
    let decision_timeout = Duration::from_millis(100);
    let limits = Limits { body_bytes_held: 1_000, decision_timeout, ..Limits::default() };
    let replica = Replica::start(Config { limits, ..Config::default() }, &POOL).await;
    let (mut first, mut second) = (replica.open_stream(), replica.open_stream());
    first.send(post(&[])).await;
    first.send(request_body(&[b' '; 900], false)).await;
    replica.until_metric("murmuration_request_body_bytes", 900).await;
    second.send(post(&[])).await;
    second.send(request_body(&[b' '; 200], false)).await;
    let (status, reason, _) = refusal(&second.answer().await);
    assert_eq!((status, reason.as_str()), (503, "too-many-bytes"));
    first.send(request_body(b"", true)).await;
    assert_eq!(refusal(&first.answer().await).0, 400);
    drop(first);
    let (head, _) = replica.ask(post(&[]), COMPLETION).await;
    assert_eq!(destination(&head), POOL[0], "the held bytes are free again");
}

#[tokio::test]
async fn two_thousand_streams_at_once_leave_nothing_open() {
    let replica = replica().await;
    let mut streams: Vec<_> = (0..2_000).map(|_| replica.open_stream()).collect();
    for stream in &streams {
        stream.send(post(&[])).await;
        stream.send(request_body(COMPLETION, true)).await;
    }
    for stream in &mut streams {
        assert_eq!(destination(&stream.answer().await), POOL[0]);
        assert!(piece(&stream.answer().await).end_of_stream);
    }
    assert_eq!(replica.open_tickets().await, 2_000);
    for (index, mut stream) in streams.into_iter().enumerate() {
        // Every second proxy fails in the middle of the answer.
        stream.send(streaming()).await;
        if index % 2 == 0 {
            stream.send(response_body(b"data: [DONE]\n\n", true)).await;
            stream.answer().await;
            assert!(piece(&stream.answer().await).end_of_stream);
        }
    }
    let figures = replica.until(|figures| figures.in_flight.is_empty()).await;
    assert_eq!(figures.completed, 1_000);
}
