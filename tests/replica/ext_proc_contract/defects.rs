//! The known defects of the Go picker; each test shows that Murmuration does not have it.

use murmuration_proto::ext_proc::Response;
use murmuration_proto::names;

use murmuration_kit::ext_proc::expect::*;
use murmuration_kit::{Config, Replica, SHEDDABLE};

const POOL: [&str; 2] = ["127.0.0.1:7", "127.0.0.2:7"];

async fn replica() -> Replica {
    Replica::start(Config::default(), &POOL).await
}

#[tokio::test]
async fn d01_headers_alone_obey_the_subset_and_get_503_without_endpoints() {
    let replica = replica().await;
    let mut stream = replica.sends([hinted(get(), &[POOL[1]])]).await;
    assert_eq!(destination(&stream.answer().await), POOL[1]);
    let empty = Replica::start(Config::default(), &[]).await;
    assert_eq!(refusal(&empty.reply(get()).await).0, 503);
}

#[tokio::test]
async fn d02_a_subset_counts_ports_and_reads_ipv6() {
    let ranks = ["127.0.0.1:7", "127.0.0.1:8", "[::1]:7", "[::1]:8"];
    let replica = Replica::start(Config { destinations: 4, ..Config::default() }, &ranks).await;
    for rank in ranks {
        let (head, _) = replica.ask(hinted(post(&[]), &[rank]), COMPLETION).await;
        assert_eq!(destination(&head), rank);
        assert_eq!(destination(&replica.reply(hinted(get(), &[rank])).await), rank);
    }
}

#[tokio::test]
async fn d03_a_hint_that_came_with_the_headers_is_honoured() {
    let replica = replica().await;
    let (head, _) = replica.ask(hinted(post(&[]), &[POOL[1]]), COMPLETION).await;
    assert_eq!(destination(&head), POOL[1]);
    let mut stream = replica
        .sends([
            hinted(post(&[]), &[POOL[0]]),
            hinted(request_body(COMPLETION, false), &[POOL[1]]),
            request_body(b"", true),
        ])
        .await;
    assert_eq!(destination(&stream.answer().await), POOL[1], "the latest hint counts");
}

#[tokio::test]
async fn d04_a_body_that_ends_by_trailers_is_scheduled() {
    let replica = replica().await;
    let mut stream = replica
        .sends([
            post(&[("x-llm-d-model-name-rewrite", "v2")]),
            request_body(COMPLETION, false),
            hinted(request_trailers(), &[POOL[1]]),
        ])
        .await;
    assert_eq!(destination(&stream.answer().await), POOL[1]);
    assert!(piece(&stream.answer().await).body.starts_with(br#"{"model":"v2""#));
    assert!(matches!(stream.answer().await.response, Some(Response::RequestTrailers(_))));
    stream.send(response_headers(&[(":status", "200")], true)).await;
    answered(&stream.answer().await);
}

#[tokio::test]
async fn d05_a_spoofed_prefiller_is_removed() {
    let spoofed = [("x-prefiller-host-port", "evil:1"), ("X-Prefiller-Url", "http://evil:1")];
    let (head, _) = replica().await.ask(post(&spoofed), COMPLETION).await;
    assert_eq!(removed(&head), ["x-prefiller-host-port", "X-Prefiller-Url"]);
}

#[tokio::test]
async fn d06_headers_that_came_twice_are_not_written_back() {
    let replica = replica().await;
    let mut stream = replica.open_stream();
    let (head, _) = stream.ask(post(&[("cookie", "a=1"), ("cookie", "b=2")]), COMPLETION).await;
    assert!(set(&head).iter().all(|(name, _)| name != "cookie"));
    stream.send(response_headers(&[(":status", "200"), ("set-cookie", "a"), ("set-cookie", "b")], false)).await;
    let head = stream.answer().await;
    assert_eq!(set(&head).len(), 1, "only our own header is set");
    assert!(removed(&head).is_empty());
}

#[tokio::test]
async fn d07_usage_that_is_split_over_two_frames_is_read() {
    let (replica, mut stream) = replica().await.into_asked().await;
    stream.send(streaming()).await;
    let event =
        b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":14,\"total_tokens\":18,\"completion_tokens\":4}}\n\n";
    stream.send(response_body(b"data: {\"choices\":[{\"text\":\"a\"}]}\n\n", false)).await;
    stream.send(response_body(&event[..50], false)).await;
    stream.send(response_body(&event[50..], false)).await;
    stream.send(response_body(b"data: [DONE]\n\n", true)).await;
    stream.end().await;
    let figures = replica.until(|figures| figures.completed == 1).await;
    assert_eq!((figures.prompt_tokens, figures.completion_tokens), (14, 4));
}

#[tokio::test]
async fn d08_the_clients_model_name_comes_back_across_a_split_and_user_text_stays() {
    let replica = replica().await;
    let mut stream = replica.open_stream();
    stream.ask(post(&[("x-llm-d-model-name-rewrite", "base-v2")]), COMPLETION).await;
    stream.send(streaming()).await;
    stream.answer().await;
    let answer = |model: &str| {
        format!("data: {{\"choices\":[{{\"text\":\"\\\"model\\\":\\\"base-v2\\\"\"}}],\"model\": \"{model}\"}}\n\n")
    };
    let sent = answer("base-v2");
    let (first, last) = sent.split_at(sent.len() - 9);
    stream.send(response_body(first.as_bytes(), false)).await;
    stream.send(response_body(last.as_bytes(), true)).await;
    let received = [stream.answer().await, stream.answer().await].map(|one| piece(&one).body.clone()).concat();
    assert_eq!(String::from_utf8(received).unwrap(), answer("base"));
}

#[tokio::test]
async fn d09_a_rewrite_leaves_every_other_byte_alone() {
    let body = |model: &str| {
        let head = "{ \"z\":1, \"n\":9007199254740993123, \"f\":1.0, \"a\":\"<&>\u{e9}\"";
        format!("{head}, \"model\" : \"{model}\",\"a\":2,\"prompt\":\"x\"}}")
    };
    let head = post(&[("x-llm-d-model-name-rewrite", "say \"v2\"")]);
    let (_, pieces) = replica().await.ask(head, body("base").as_bytes()).await;
    assert_eq!(String::from_utf8(piece(&pieces[0]).body.clone()).unwrap(), body("say \\\"v2\\\""));
}

#[tokio::test]
async fn d10_an_engines_error_status_is_counted() {
    let (replica, mut stream) = replica().await.into_asked().await;
    stream.send(response_headers(&[(":status", "503"), ("content-type", "application/json")], false)).await;
    stream.send(response_body(br#"{"error":{"message":"busy","code":503}}"#, true)).await;
    stream.end().await;
    replica.until(|figures| figures.engine_errors == 1).await;

    let mut stream = replica.asked().await;
    stream.send(streaming()).await;
    let event = b"data: {\"error\": {\"message\": \"busy\", \"type\": \"Service Unavailable\", \"code\": 503}}\n\n";
    stream.send(response_body(event, false)).await;
    stream.send(response_body(b"data: [DONE]\n\n", true)).await;
    stream.end().await;
    let figures = replica.until(|figures| figures.engine_errors == 2).await;
    assert_eq!(figures.completed, 0, "a status of 200 does not make it a success");
}

#[tokio::test]
async fn d11_no_endpoint_and_all_endpoints_full_are_two_statuses() {
    // Endpoints that never reported count as full, which matters only to a sheddable request.
    for (pool, expected) in [(&[] as &[&str], 503), (&POOL, 429)] {
        let replica = Replica::start(Config::default(), pool).await;
        assert_eq!(replica.refused(post(&[(names::OBJECTIVE[0], SHEDDABLE)]), COMPLETION).await.0, expected);
    }
}

#[tokio::test]
async fn d12_a_fallback_that_served_is_counted() {
    let replica = Replica::start(Config { destinations: 2, ..Config::default() }, &POOL).await;
    let mut stream = replica.open_stream();
    let (head, _) = stream.ask(post(&[]), COMPLETION).await;
    let list = destination(&head);
    let (first, second) = list.split_once(',').unwrap();
    assert!(replica.figures().await.in_flight.contains_key(&first.parse().unwrap()));
    stream.send(served(json(), second)).await;
    stream.answer().await;
    let figures = replica.until(|figures| figures.in_flight.contains_key(&second.parse().unwrap())).await;
    assert_eq!(figures.in_flight.len(), 1);
}

#[tokio::test]
async fn d13_the_first_byte_of_an_answer_does_not_wait_for_its_last() {
    let (_replica, mut stream) = replica().await.into_asked().await;
    stream.send(json()).await;
    stream.answer().await;
    stream.send(response_body(b"{", false)).await;
    assert_eq!(piece(&stream.answer().await).body, b"{");
}

#[tokio::test]
async fn d15_a_message_of_six_mebibytes_is_accepted_and_a_body_is_bounded() {
    let replica = Replica::start(Config { body_bytes: 7 << 20, ..Config::default() }, &POOL).await;
    let body = format!(r#"{{"model":"base","prompt":"{}"}}"#, "x".repeat(6 << 20)).into_bytes();
    let (_, pieces) = replica.ask(post(&[]), &body).await;
    assert_eq!(pieces.iter().map(|one| piece(one).body.len()).sum::<usize>(), body.len());
    for chunks in [vec![4 << 20, 4 << 20], vec![9 << 20]] {
        let mut stream = replica.sends([post(&[])]).await;
        for bytes in chunks {
            stream.send(request_body(&vec![b' '; bytes], false)).await;
        }
        let (status, reason, _) = refusal(&stream.answer().await);
        assert_eq!((status, reason.as_str()), (413, "body-too-large"));
    }
}

#[tokio::test]
async fn d16_two_requests_with_one_id_are_two() {
    let replica = replica().await;
    let (mut one, mut other) = (replica.open_stream(), replica.open_stream());
    one.ask(post(&[(names::REQUEST_ID, "same")]), COMPLETION).await;
    other.ask(post(&[(names::REQUEST_ID, "same")]), COMPLETION).await;
    assert_eq!(replica.open_tickets().await, 2);
    drop(one);
    replica.until(|figures| figures.in_flight.values().sum::<usize>() == 1).await;
    other.send(response_headers(&[(":status", "200")], true)).await;
    answered(&other.answer().await);
    let figures = replica.until(|figures| figures.in_flight.is_empty()).await;
    assert_eq!(figures.completed, 1);
}
