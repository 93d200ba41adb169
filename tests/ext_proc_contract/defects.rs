//! The defects known of the Go picker, each shown right here.

use murmuration_proto::ext_proc::Response;
use murmuration_proto::names;

use crate::support::envoy::*;
use crate::support::{Config, Replica, SHEDDABLE};

const POOL: [&str; 2] = ["127.0.0.1:7", "127.0.0.2:7"];

async fn replica() -> Replica {
    Replica::start(Config::default(), &POOL).await
}

#[tokio::test]
async fn d01_headers_alone_obey_the_subset_and_get_503_when_nobody_is_there() {
    let replica = replica().await;
    let mut talk = replica.talk();
    talk.send(hinted(get(), &[POOL[1]])).await;
    assert_eq!(destination(&talk.answer().await), POOL[1]);
    let empty = Replica::start(Config::default(), &[]).await;
    let mut talk = empty.talk();
    talk.send(get()).await;
    assert_eq!(refusal(&talk.answer().await).0, 503);
}

#[tokio::test]
async fn d02_a_subset_counts_ports_and_reads_ipv6() {
    let ranks = ["127.0.0.1:7", "127.0.0.1:8", "[::1]:7", "[::1]:8"];
    let replica = Replica::start(Config { destinations: 4, ..Config::default() }, &ranks).await;
    for rank in ranks {
        let (head, _) = replica.talk().ask(hinted(post(&[]), &[rank]), COMPLETION).await;
        assert_eq!(destination(&head), rank);
        let mut talk = replica.talk();
        talk.send(hinted(get(), &[rank])).await;
        assert_eq!(destination(&talk.answer().await), rank);
    }
}

#[tokio::test]
async fn d03_a_hint_that_came_with_the_headers_is_honoured() {
    let replica = replica().await;
    let (head, _) = replica.talk().ask(hinted(post(&[]), &[POOL[1]]), COMPLETION).await;
    assert_eq!(destination(&head), POOL[1]);
    let mut talk = replica.talk();
    talk.send(hinted(post(&[]), &[POOL[0]])).await;
    talk.send(hinted(request_body(COMPLETION, false), &[POOL[1]])).await;
    talk.send(request_body(b"", true)).await;
    assert_eq!(destination(&talk.answer().await), POOL[1], "the latest hint counts");
}

#[tokio::test]
async fn d04_a_body_that_ends_by_trailers_is_scheduled() {
    let replica = replica().await;
    let mut talk = replica.talk();
    talk.send(post(&[("x-llm-d-model-name-rewrite", "v2")])).await;
    talk.send(request_body(COMPLETION, false)).await;
    talk.send(hinted(request_trailers(), &[POOL[1]])).await;
    assert_eq!(destination(&talk.answer().await), POOL[1]);
    assert!(piece(&talk.answer().await).body.starts_with(br#"{"model":"v2""#));
    assert!(matches!(talk.answer().await.response, Some(Response::RequestTrailers(_))));
    talk.send(response_headers(&[(":status", "200")], true)).await;
    answered(&talk.answer().await);
}

#[tokio::test]
async fn d05_a_spoofed_prefiller_is_removed() {
    let spoofed = [("x-prefiller-host-port", "evil:1"), ("X-Prefiller-Url", "http://evil:1")];
    let (head, _) = replica().await.talk().ask(post(&spoofed), COMPLETION).await;
    assert_eq!(removed(&head), ["x-prefiller-host-port", "X-Prefiller-Url"]);
}

#[tokio::test]
async fn d06_headers_that_came_twice_are_not_written_back() {
    let replica = replica().await;
    let mut talk = replica.talk();
    let (head, _) = talk.ask(post(&[("cookie", "a=1"), ("cookie", "b=2")]), COMPLETION).await;
    assert!(set(&head).iter().all(|(name, _)| name != "cookie"));
    talk.send(response_headers(&[(":status", "200"), ("set-cookie", "a"), ("set-cookie", "b")], false)).await;
    let head = talk.answer().await;
    assert_eq!(set(&head).len(), 1, "only our own header is set");
    assert!(removed(&head).is_empty());
}

#[tokio::test]
async fn d07_usage_that_is_split_over_two_frames_is_read() {
    let replica = replica().await;
    let mut talk = replica.talk();
    talk.ask(post(&[]), COMPLETION).await;
    talk.send(streaming()).await;
    let event =
        b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":14,\"total_tokens\":18,\"completion_tokens\":4}}\n\n";
    talk.send(response_body(b"data: {\"choices\":[{\"text\":\"a\"}]}\n\n", false)).await;
    talk.send(response_body(&event[..50], false)).await;
    talk.send(response_body(&event[50..], false)).await;
    talk.send(response_body(b"data: [DONE]\n\n", true)).await;
    while talk.receive().await.is_some() {}
    let figures = replica.until(|figures| figures.completed == 1).await;
    assert_eq!((figures.prompt_tokens, figures.completion_tokens), (14, 4));
}

#[tokio::test]
async fn d08_the_clients_model_name_comes_back_across_a_split_and_user_text_stays() {
    let replica = replica().await;
    let mut talk = replica.talk();
    talk.ask(post(&[("x-llm-d-model-name-rewrite", "base-v2")]), COMPLETION).await;
    talk.send(streaming()).await;
    talk.answer().await;
    let answer = |model: &str| {
        format!("data: {{\"choices\":[{{\"text\":\"\\\"model\\\":\\\"base-v2\\\"\"}}],\"model\": \"{model}\"}}\n\n")
    };
    let sent = answer("base-v2");
    let (first, last) = sent.split_at(sent.len() - 9);
    talk.send(response_body(first.as_bytes(), false)).await;
    talk.send(response_body(last.as_bytes(), true)).await;
    let heard = [talk.answer().await, talk.answer().await].map(|one| piece(&one).body.clone()).concat();
    assert_eq!(String::from_utf8(heard).unwrap(), answer("base"));
}

#[tokio::test]
async fn d09_a_rewrite_leaves_every_other_byte_alone() {
    let body = |model: &str| {
        let head = "{ \"z\":1, \"n\":9007199254740993123, \"f\":1.0, \"a\":\"<&>\u{e9}\"";
        format!("{head}, \"model\" : \"{model}\",\"a\":2,\"prompt\":\"x\"}}")
    };
    let head = post(&[("x-llm-d-model-name-rewrite", "say \"v2\"")]);
    let (_, pieces) = replica().await.talk().ask(head, body("base").as_bytes()).await;
    assert_eq!(String::from_utf8(piece(&pieces[0]).body.clone()).unwrap(), body("say \\\"v2\\\""));
}

#[tokio::test]
async fn d10_an_engines_error_status_is_counted() {
    let replica = replica().await;
    let mut talk = replica.talk();
    talk.ask(post(&[]), COMPLETION).await;
    talk.send(response_headers(&[(":status", "503"), ("content-type", "application/json")], false)).await;
    talk.send(response_body(br#"{"error":{"message":"busy","code":503}}"#, true)).await;
    while talk.receive().await.is_some() {}
    replica.until(|figures| figures.engine_errors == 1).await;

    let mut talk = replica.talk();
    talk.ask(post(&[]), COMPLETION).await;
    talk.send(streaming()).await;
    let event = b"data: {\"error\": {\"message\": \"busy\", \"type\": \"Service Unavailable\", \"code\": 503}}\n\n";
    talk.send(response_body(event, false)).await;
    talk.send(response_body(b"data: [DONE]\n\n", true)).await;
    while talk.receive().await.is_some() {}
    let figures = replica.until(|figures| figures.engine_errors == 2).await;
    assert_eq!(figures.completed, 0, "a status of 200 does not make it a success");
}

#[tokio::test]
async fn d11_nobody_there_and_everybody_full_are_two_statuses() {
    // Endpoints that never reported count as full, which only a sheddable request minds.
    for (pool, expected) in [(&[] as &[&str], 503), (&POOL, 429)] {
        let replica = Replica::start(Config::default(), pool).await;
        let mut talk = replica.talk();
        talk.send(post(&[(names::OBJECTIVE[0], SHEDDABLE)])).await;
        talk.send(request_body(COMPLETION, true)).await;
        assert_eq!(refusal(&talk.answer().await).0, expected);
    }
}

#[tokio::test]
async fn d12_a_fallback_that_served_is_booked() {
    let replica = Replica::start(Config { destinations: 2, ..Config::default() }, &POOL).await;
    let mut talk = replica.talk();
    let (head, _) = talk.ask(post(&[]), COMPLETION).await;
    let list = destination(&head);
    let (first, second) = list.split_once(',').unwrap();
    assert!(replica.figures().await.in_flight.contains_key(&first.parse().unwrap()));
    talk.send(served(json(), second)).await;
    talk.answer().await;
    let figures = replica.until(|figures| figures.in_flight.contains_key(&second.parse().unwrap())).await;
    assert_eq!(figures.in_flight.len(), 1);
}

#[tokio::test]
async fn d13_the_first_byte_of_an_answer_does_not_wait_for_its_last() {
    let replica = replica().await;
    let mut talk = replica.talk();
    talk.ask(post(&[]), COMPLETION).await;
    talk.send(json()).await;
    talk.answer().await;
    talk.send(response_body(b"{", false)).await;
    assert_eq!(piece(&talk.answer().await).body, b"{");
}

#[tokio::test]
async fn d15_a_message_of_six_mebibytes_is_taken_and_a_body_is_bounded() {
    let replica = Replica::start(Config { body_bytes: 7 << 20, ..Config::default() }, &POOL).await;
    let body = format!(r#"{{"model":"base","prompt":"{}"}}"#, "x".repeat(6 << 20)).into_bytes();
    let (_, pieces) = replica.talk().ask(post(&[]), &body).await;
    assert_eq!(pieces.iter().map(|one| piece(one).body.len()).sum::<usize>(), body.len());
    for chunks in [vec![4 << 20, 4 << 20], vec![9 << 20]] {
        let mut talk = replica.talk();
        talk.send(post(&[])).await;
        for bytes in chunks {
            talk.send(request_body(&vec![b' '; bytes], false)).await;
        }
        let (status, reason, _) = refusal(&talk.answer().await);
        assert_eq!((status, reason.as_str()), (413, "body-too-large"));
    }
}

#[tokio::test]
async fn d16_two_requests_with_one_id_are_two() {
    let replica = replica().await;
    let (mut one, mut other) = (replica.talk(), replica.talk());
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
