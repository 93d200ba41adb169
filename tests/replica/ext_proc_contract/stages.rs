//! Requests whose prompt is computed on another endpoint: the headers that tell a sidecar so.

use murmuration_proto::names;

use murmuration_kit::ext_proc::expect::*;
use murmuration_kit::{Config, Replica};

const POOL: [&str; 4] = ["127.0.0.1:7@decode", "127.0.0.1:8@prefill", "127.0.0.1:9@prefill", "[::1]:7@decode"];

fn body(words: usize) -> Vec<u8> {
    format!(r#"{{"model": "tiny", "prompt": "{}"}}"#, "word ".repeat(words)).into_bytes()
}

async fn replica(pool: &[&str]) -> Replica {
    Replica::start(Config { pairs: true, ..Config::default() }, pool).await
}

#[tokio::test]
async fn a_long_prompt_names_its_prefill_endpoint_and_goes_to_the_decode_endpoint() {
    let replica = replica(&POOL).await;
    let (head, _) = replica.open_stream().ask(post(&[]), &body(2_000)).await;
    assert!(["127.0.0.1:7", "[::1]:7"].contains(&destination(&head).as_str()));
    let prefill = value(&head, names::PREFILLER[0]).unwrap();
    assert!(["127.0.0.1:8", "127.0.0.1:9"].contains(&prefill.as_str()), "{prefill}");
    assert_eq!(value(&head, names::ENCODERS), None);
    assert_eq!(replica.metric(r#"llm_d_epp_disagg_decision_total{decision_type="prefill-decode""#), 1);
}

#[tokio::test]
async fn a_client_s_own_prefill_endpoint_is_overwritten_or_removed() {
    let replica = replica(&POOL).await;
    let spoofed = [("X-Prefiller-Host-Port", "6.6.6.6:6"), (names::PREFILLER[1], "6.6.6.6:6")];
    let (head, _) = replica.open_stream().ask(post(&spoofed), &body(2_000)).await;
    assert_ne!(value(&head, names::PREFILLER[0]).unwrap(), "6.6.6.6:6");
    assert_eq!(removed(&head), [names::PREFILLER[1]], "a header is never both removed and set");
    let (head, _) = replica.open_stream().ask(post(&spoofed), &body(10)).await;
    assert_eq!(value(&head, names::PREFILLER[0]), None, "a short prompt is computed where it is decoded");
    assert_eq!(removed(&head), ["X-Prefiller-Host-Port", names::PREFILLER[1]]);
}

#[tokio::test]
async fn a_prompt_that_needs_a_prefill_endpoint_is_503_where_there_is_none() {
    let replica = replica(&["127.0.0.1:7@decode"]).await;
    let mut stream = replica.open_stream();
    stream.send(post(&[])).await;
    stream.send(request_body(&body(2_000), true)).await;
    let (status, reason, text) = refusal(&stream.answer().await);
    assert_eq!((status, reason.as_str()), (503, "rejected-no-endpoints"));
    assert!(text.contains("prefill-filter"), "{text}");
}

#[tokio::test]
async fn a_request_that_wants_a_cached_prefix_is_412_until_there_is_one() {
    let replica = replica(&POOL).await;
    let (wanted, prompt) = ([("Prefer", "return=minimal, if-available")], body(2_000));
    let mut stream = replica.open_stream();
    stream.send(post(&wanted)).await;
    stream.send(request_body(&prompt, true)).await;
    let (status, reason, text) = refusal(&stream.answer().await);
    assert_eq!((status, reason.as_str()), (412, "no-cached-prefix"));
    assert!(text.starts_with("inference error: PreconditionFailed - "), "{text}");
    // Its stream stays open: one that breaks off takes its placement back.
    let mut serving = replica.open_stream();
    let (first, _) = serving.ask(post(&[]), &prompt).await;
    let (head, _) = replica.open_stream().ask(post(&wanted), &prompt).await;
    assert_eq!(destination(&head), destination(&first), "it goes where the prompt is");
    assert_eq!(value(&head, names::PREFILLER[0]), None);
}
