//! The checker against a tier without faults, and against tiers with one fault each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod tier;

use http::{HeaderMap, StatusCode};
use std::time::Duration;

use self::tier::{Fault, Tier};
use super::reading;
use super::workload::Api;
use super::{Report, run_with};
use murmuration_kit::client::Answer;

const PAIRS: usize = 3;

async fn check(fault: Fault) -> Report {
    let tier = Tier::start(fault).await;
    run_with(&tier.target, PAIRS).await
}

#[tokio::test]
async fn a_tier_without_fault_passes() {
    let report = check(Fault::None).await;
    assert_eq!(report.sentences, Vec::<String>::new());
    assert!(report.passed());
    // One page of models, 56 requests with shared prefixes, 38 + 4 in the lanes, 6 bad ones.
    assert_eq!(report.requests, 105);
    assert_eq!(report.per_endpoint.values().sum::<u64>(), 103, "all but the picker's own refusals");
    assert!(report.cached_share > 0.3, "{}", report.cached_share);
    assert_eq!(report.added_latency_ms.pairs, PAIRS);
    assert!(report.added_latency_ms.p50.is_some());
}

#[tokio::test]
async fn each_fault_is_found_and_reported() {
    let faults = [
        (Fault::AltersBodies, "chat of 1 MB, time 1: its text is"),
        (Fault::CutsBodies, "chat of 1 MB, time 1: its prompt has 249"),
        (Fault::Scatters, "its shared prefix went to 4 engines"),
        (Fault::Forgets, "found none of the shared prefix on engine-"),
        (Fault::CountsNoCache, "its usage has no cached_tokens"),
        (Fault::LosesUsage, "the stream's last event carries no usage"),
        (Fault::LosesDone, "without [DONE]"),
        (Fault::CutsText, "1 KB, streamed, time 1: its text is"),
        (Fault::RepeatsAfterDone, "1 events came after [DONE]"),
        (Fault::LosesName, "it has no header x-inference-pod"),
        (Fault::PassesBrokenJson, "where the picker's own 400 was due"),
        (Fault::HidesNotFound, "where the engine's own 404 was due"),
        (Fault::IsBusy, "answered 503 Service Unavailable"),
        (Fault::IsNotReady, "503 Service Unavailable: endpoints not known yet"),
        (Fault::LeavesAReplicaOut, "decided nothing; does the proxy balance"),
    ];
    for (fault, part) in faults {
        let report = check(fault).await;
        assert!(!report.passed(), "{fault:?}");
        assert!(report.sentences.iter().any(|sentence| sentence.contains(part)), "{fault:?}: {:#?}", report.sentences);
    }
}

#[tokio::test]
async fn a_tier_that_is_not_there_fails_and_measures_nothing() {
    let tier = Tier::start(Fault::None).await;
    let target = tier.target.clone();
    drop(tier);
    let report = run_with(&target, PAIRS).await;
    assert!(!report.passed());
    assert_eq!((report.added_latency_ms.p50, report.added_latency_ms.pairs), (None, 0));
    assert!(report.failures > report.sentences.len() as u64, "{}", report.failures);
}

#[test]
fn the_report_is_one_object_with_the_expected_keys() {
    let report = serde_json::to_value(super::Report::default()).unwrap();
    for key in ["requests", "failures", "cached_share", "per_endpoint", "added_latency_ms"] {
        assert!(!report[key].is_null(), "{key}: {report}");
    }
    assert_eq!(report["added_latency_ms"].as_object().unwrap().keys().collect::<Vec<_>>(), ["p50", "p99", "pairs"]);
}

#[test]
fn a_real_answer_is_read() {
    let captured = include_str!("../../../../tests/fixtures/vllm/ok-chat-usage-cached.txt");
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().unwrap());
    let body = captured.rsplit_once("\r\n\r\n").unwrap().1.trim_end().to_owned().into();
    let came = |status| {
        let (first_byte, total, events, after_done) = (Duration::ZERO, Duration::ZERO, Vec::new(), 0);
        let (headers, body) = (headers.clone(), bytes::Bytes::clone(&body));
        Answer { status, headers, body, events, after_done, first_byte, total }
    };
    let reading = reading::read(&came(StatusCode::OK), false, Api::Chat, "tiny").unwrap();
    assert_eq!(
        (reading.text.as_str(), reading.prompt_tokens, reading.cached_tokens),
        (" De Replace Allow", 16, Some(0))
    );
    let as_completion = reading::read(&came(StatusCode::OK), false, Api::Completions, "tiny").unwrap_err();
    assert_eq!(as_completion, r#"its object is "chat.completion" where "text_completion" was due"#);
    let of_another = reading::read(&came(StatusCode::OK), false, Api::Chat, "large").unwrap_err();
    assert_eq!(of_another, r#"its model is "tiny" where "large" was due"#);
}
