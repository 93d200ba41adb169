//! Answers compared with captured ones of a real engine.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;

use murmuration::time::Timestamp;

use super::*;
use crate::EngineConfig;

const CHAT_STREAM: &str = include_str!("../../../../../tests/fixtures/vllm/chat-stream-usage.raw");
const COMPLETION_STREAM: &str =
    include_str!("../../../../../tests/fixtures/vllm/completion-stream-continuous-usage.raw");
const CHAT_WHOLE: &str = include_str!("../../../../../tests/fixtures/vllm/ok-chat-usage-cached.txt");

fn begin(route: Route, body: &str) -> Answer {
    let ask = Ask::read(route, body.as_bytes(), &EngineConfig::default()).unwrap();
    Answer::begin(&ask, "my-req-1", 7, 1_795_340_000, "vllm-0.32.0-test")
}

fn output(id: u64, index: usize, finished: bool) -> Output {
    let (at, admitted) = (Timestamp::ZERO, Timestamp::ZERO);
    Output { id, at, admitted, token: u32::from_le_bytes(*b" abc"), index, cached_tokens: 16, preemptions: 0, finished }
}

fn chunks(stream: &str) -> Vec<Value> {
    let events = stream.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    events.map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// Every path of `value`, without its leaves.
fn shape(value: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, path: &str, found: &mut BTreeSet<String>) {
        found.insert(path.to_owned());
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(key, value)| walk(value, &format!("{path}.{key}"), found))
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, &format!("{path}[]"), found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    walk(value, "", &mut found);
    found
}

/// The captured streams come from an engine without `--enable-prompt-tokens-details`.
fn shape_without_details(value: &Value) -> BTreeSet<String> {
    let mut shape = shape(value);
    shape.retain(|path| !path.contains("prompt_tokens_details"));
    shape
}

fn stream_of(mut answer: Answer, tokens: usize) -> String {
    let mut stream: String = (0..tokens).map(|index| answer.events(&output(7, index, index + 1 == tokens))).collect();
    stream += &answer.last_events();
    stream
}

#[test]
fn a_streamed_chat_has_the_shape_of_a_real_one() {
    let body = r#"{"messages":[{"role":"user","content":"x"}],"max_tokens":4,"stream":true,
        "stream_options":{"include_usage":true}}"#;
    let ours = stream_of(begin(Route::Chat, body), 4);
    let shapes = |stream| chunks(stream).iter().map(shape_without_details).collect::<Vec<_>>();
    assert_eq!(shapes(&ours), shapes(CHAT_STREAM));
    assert!(ours.ends_with("data: [DONE]\n\n"));
    let usage = &chunks(&ours).pop().unwrap()["usage"];
    assert_eq!(
        (&usage["completion_tokens"], &usage["prompt_tokens_details"]["cached_tokens"]),
        (&4.into(), &16.into())
    );
}

#[test]
fn a_streamed_completion_has_the_shape_of_a_real_one() {
    let body = r#"{"prompt":"x","max_tokens":4,"stream":true,
        "stream_options":{"include_usage":true,"continuous_usage_stats":true}}"#;
    let ours = stream_of(begin(Route::Completions, body), 4);
    let shapes = |stream| chunks(stream).iter().map(shape_without_details).collect::<Vec<_>>();
    assert_eq!(shapes(&ours), shapes(COMPLETION_STREAM));
}

#[test]
fn a_whole_chat_has_the_shape_of_a_real_one() {
    let mut answer = begin(Route::Chat, r#"{"messages":[{"role":"user","content":"x"}],"max_tokens":2}"#);
    answer.add(&output(7, 0, false));
    answer.add(&output(7, 1, true));
    let ours: Value = serde_json::from_str(&answer.whole()).unwrap();
    let captured: Value = serde_json::from_str(CHAT_WHOLE.lines().last().unwrap()).unwrap();
    let mut theirs = shape(&captured);
    // Only with --enable-per-request-metrics, as this capture.
    theirs.retain(|path| !path.starts_with(".metrics."));
    assert_eq!(shape(&ours), theirs);
    assert_eq!(ours["choices"][0]["message"]["content"], " abc abc");
    assert_eq!((&ours["id"], &ours["choices"][0]["finish_reason"]), (&"chatcmpl-my-req-1".into(), &"length".into()));
}

#[test]
fn a_prompt_with_n_answers_counts_its_tokens_once() {
    let mut answer = begin(Route::Completions, r#"{"prompt":[1,2,3],"max_tokens":1,"n":2}"#);
    answer.add(&output(8, 0, true));
    assert!(!answer.finished());
    answer.add(&output(7, 0, true));
    assert!(answer.finished());
    let usage = &serde_json::from_str::<Value>(&answer.whole()).unwrap()["usage"];
    let counts = ["prompt_tokens", "completion_tokens", "total_tokens"].map(|key| usage[key].as_u64().unwrap());
    assert_eq!((counts, usage["prompt_tokens_details"]["cached_tokens"].as_u64()), ([3, 2, 5], Some(16)));
}

#[test]
fn a_stream_that_the_engine_aborts_ends_with_abort() {
    let mut answer = begin(Route::Chat, r#"{"messages":[{"role":"user","content":"x"}],"stream":true}"#);
    answer.events(&output(7, 0, false));
    let chunks = chunks(&answer.last_events());
    assert_eq!((chunks.len(), &chunks[0]["choices"][0]["finish_reason"]), (1, &"abort".into()));
    assert_eq!(chunks[0]["system_fingerprint"], "vllm-0.32.0-test");
}

#[test]
fn a_refused_stream_is_one_error_and_its_end() {
    let stream = refused_stream(&Refusal::busy());
    assert_eq!(chunks(&stream)[0]["error"]["code"], 503);
    assert!(stream.ends_with("\n\ndata: [DONE]\n\n"));
}
