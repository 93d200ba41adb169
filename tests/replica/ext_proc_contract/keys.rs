//! Headers and metadata keys: which are read, which are set, and which are removed.

use murmuration_actors::ext_proc::TrustedSpelling;
use murmuration_proto::names;

use murmuration_kit::ext_proc::expect::*;
use murmuration_kit::{Config, Replica};

async fn replica() -> Replica {
    Replica::start(Config::default(), &["127.0.0.1:7"]).await
}

#[tokio::test]
async fn the_destination_is_set_and_scores_are_not_emitted() {
    let (head, _) = replica().await.ask(post(&[]), COMPLETION).await;
    assert_eq!(destination(&head), "127.0.0.1:7");
    assert_eq!(load_balancer(&head, names::DESTINATION_SCORES), None);
}

#[tokio::test]
async fn control_headers_do_not_reach_the_engine_in_any_spelling() {
    let spellings = [names::FAIRNESS_ID, names::OBJECTIVE, names::SLO_TTFT_MS, names::SLO_TPOT_MS].concat();
    let all = [spellings.as_slice(), &names::VIDEO, &[names::SUBSET, names::DESTINATION_SERVED, names::DROPPED_REASON]]
        .concat();
    let pairs: Vec<(&str, &str)> = all.iter().map(|&name| (name, "1")).collect();
    let (head, _) = replica().await.ask(post(&pairs), COMPLETION).await;
    assert_eq!(removed(&head), all);
    assert!(set(&head).iter().all(|(name, _)| !all.contains(&name.as_str())));
}

#[tokio::test]
async fn the_rewrite_header_sets_the_model_in_both_spellings() {
    let replica = replica().await;
    for name in names::MODEL_REWRITE {
        let (head, pieces) = replica.ask(post(&[(name, "base-v2")]), COMPLETION).await;
        assert_eq!(piece(&pieces[0]).body, br#"{"model":"base-v2","prompt":"hello","stream":true}"#);
        assert_eq!(removed(&head), [name]);
    }
    let agreed = [(names::MODEL_REWRITE[1], "new"), (names::MODEL_REWRITE[0], "new")];
    let (_, pieces) = replica.ask(post(&agreed), COMPLETION).await;
    assert!(piece(&pieces[0]).body.starts_with(br#"{"model":"new""#));
}

#[tokio::test]
async fn spellings_that_contradict_each_other_are_400() {
    let replica = replica().await;
    for [new, old] in [names::MODEL_REWRITE, names::OBJECTIVE, names::FAIRNESS_ID] {
        for pairs in [[(old, "gateway's"), (new, "client's")], [(old, "client's"), (old, "gateway's")]] {
            let (status, reason, body) = replica.refused(post(&pairs), COMPLETION).await;
            assert_eq!((status, reason.as_str()), (400, "bad-request"));
            assert!(body.contains(old), "{body}");
        }
    }
}

#[tokio::test]
async fn only_the_trusted_spelling_is_read() {
    let config = Config { trusted: TrustedSpelling::Gateway, ..Config::default() };
    let replica = Replica::start(config, &["127.0.0.1:7"]).await;
    let (gateways, clients) = ((names::MODEL_REWRITE[1], "gateways"), (names::MODEL_REWRITE[0], "clients"));
    let (head, pieces) = replica.ask(post(&[gateways, clients]), COMPLETION).await;
    assert!(piece(&pieces[0]).body.starts_with(br#"{"model":"gateways""#));
    assert_eq!(removed(&head), [gateways.0, clients.0]);
    let (_, pieces) = replica.ask(post(&[clients]), COMPLETION).await;
    assert_eq!(piece(&pieces[0]).body, COMPLETION);
}

#[tokio::test]
async fn a_control_header_of_more_than_256_bytes_is_400() {
    let replica = replica().await;
    let long = "m".repeat(257);
    for name in [names::MODEL_REWRITE[0], names::OBJECTIVE[1], names::FAIRNESS_ID[0]] {
        let (status, _, body) = replica.refused(post(&[(name, &long)]), COMPLETION).await;
        assert!(status == 400 && body.contains(name), "{body}");
    }
}

#[tokio::test]
async fn the_rewrite_header_works_on_every_json_api() {
    let replica = replica().await;
    let cases = [
        ("/v1/chat/completions", r#"{"messages":[{"role":"user","content":"a"}],"model":"base"}"#),
        ("/v1/completions/render", r#"{"prompt":"a","model":"base"}"#),
        ("/v1/responses", r#"{"input":"a","model":"base"}"#),
        ("/v1/messages", r#"{"system":"a","messages":[],"max_tokens":1,"model":"base"}"#),
        ("/v1/embeddings", r#"{"input":["a"],"model":"base"}"#),
        ("/rerank", r#"{"query":"a","documents":["b"],"model":"base"}"#),
        ("/v1/score", r#"{"text_1":"a","text_2":"b","model":"base"}"#),
        ("/what/comes/next", r#"{"x":1,"model":"base"}"#),
    ];
    for (path, body) in cases {
        let pairs = [(":method", "POST"), (":path", path), (names::MODEL_REWRITE[0], "tuned")];
        let head = request_headers(&pairs, false);
        let (_, pieces) = replica.ask(head, body.as_bytes()).await;
        assert_eq!(piece(&pieces[0]).body, body.replace("base", "tuned").as_bytes(), "{path}");
    }
}

#[tokio::test]
async fn a_compressed_body_is_routed_unless_its_model_must_be_rewritten() {
    let replica = replica().await;
    let gzip = ("content-encoding", "gzip");
    let (head, pieces) = replica.ask(post(&[gzip]), b"\x1f\x8b\x08\0").await;
    assert_eq!(
        (destination(&head).as_str(), piece(&pieces[0]).body.as_slice()),
        ("127.0.0.1:7", &b"\x1f\x8b\x08\0"[..])
    );
    let (status, _, sentence) =
        replica.refused(post(&[gzip, (names::MODEL_REWRITE[0], "tuned")]), b"\x1f\x8b\x08\0").await;
    assert_eq!(status, 400);
    assert!(sentence.contains("send it uncompressed"), "{sentence}");
}

#[tokio::test]
async fn a_request_without_an_id_gets_a_uuid() {
    let replica = replica().await;
    let (one, _) = replica.ask(post(&[]), COMPLETION).await;
    let (other, _) = replica.ask(post(&[]), COMPLETION).await;
    let (one, other) = (value(&one, names::REQUEST_ID).unwrap(), value(&other, names::REQUEST_ID).unwrap());
    assert_ne!(one, other);
    assert_eq!(one.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
}

#[tokio::test]
async fn a_request_with_an_id_keeps_it() {
    let (head, _) = replica().await.ask(post(&[(names::REQUEST_ID, "mine")]), COMPLETION).await;
    assert_eq!(value(&head, names::REQUEST_ID), None, "Envoy keeps what the client sent");
    assert!(removed(&head).is_empty());
}

#[tokio::test]
async fn every_refusal_names_its_reason() {
    let replica = Replica::start(Config { body_bytes: 100, ..Config::default() }, &[]).await;
    let cases: [(&[u8], _); 3] = [
        (COMPLETION, (503, "rejected-no-endpoints")),
        (b"no json", (400, "bad-request")),
        (&[b' '; 101], (413, "body-too-large")),
    ];
    for (body, expected) in cases {
        let (status, reason, _) = replica.refused(post(&[]), body).await;
        assert_eq!((status, reason.as_str()), expected);
    }
}

#[tokio::test]
async fn sidecar_headers_of_a_client_do_not_reach_the_sidecar() {
    let all = [names::PREFILLER[0], names::PREFILLER[1], names::ENCODERS, names::DATA_PARALLEL, names::KV_SOURCE];
    let pairs: Vec<(&str, &str)> = all.iter().map(|&name| (name, "169.254.169.254:80")).collect();
    let (head, _) = replica().await.ask(post(&pairs), COMPLETION).await;
    assert_eq!(removed(&head), all);
}

#[tokio::test]
async fn an_answer_carries_the_header_of_the_picker() {
    let (_replica, mut stream) = replica().await.into_asked().await;
    stream.send(json()).await;
    let head = stream.answer().await;
    assert_eq!(set(&head), [(names::WENT_INTO_RESPONSE.to_owned(), "true".to_owned())]);
    assert!(!answered(&head).response.as_ref().unwrap().clear_route_cache);
}

#[tokio::test]
async fn other_headers_of_the_client_are_passed_on() {
    let own =
        [("x-session-id", "s"), ("prefer", "return=minimal"), ("epp-profile", "p"), ("authorization", "Bearer t")];
    let (head, _) = replica().await.ask(post(&own), COMPLETION).await;
    assert!(removed(&head).is_empty());
    assert!(set(&head).iter().all(|(name, _)| own.iter().all(|(mine, _)| mine != name)));
}

#[tokio::test]
async fn a_session_is_bound_with_its_first_token_and_not_by_streams_that_are_given_up() {
    let replica = Replica::start(Config { sessions: true, ..Config::scoring() }, &["127.0.0.1:7", "127.0.0.2:7"]).await;
    for number in 0..50 {
        let mut stream = replica.open_stream();
        stream.ask(post(&[("x-session-id", &format!("throw-away-{number}"))]), COMPLETION).await;
    }
    replica.until(|figures| figures.in_flight.is_empty()).await;
    let mut failed = replica.open_stream();
    failed.ask(post(&[("x-session-id", "failed")]), COMPLETION).await;
    failed.send(response_headers(&[(":status", "503"), ("content-type", "application/json")], false)).await;
    failed.send(response_body(b"{}", true)).await;
    failed.end().await;
    replica.until(|figures| figures.in_flight.is_empty()).await;
    assert_eq!(replica.fleet().await.sessions, 0);

    let mut answered = replica.open_stream();
    answered.ask(post(&[("x-session-id", "kept")]), COMPLETION).await;
    answered.send(json()).await;
    answered.send(response_body(b"{}", true)).await;
    answered.end().await;
    replica.until_sessions(1).await;
}
