//! Tests of reading a request's body.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use http::StatusCode;

use super::*;
use crate::http::refusal::Kind;

fn config() -> EngineConfig {
    EngineConfig { adapters: vec!["lora-a".to_owned()], max_model_len: 1000, ..EngineConfig::default() }
}

fn read(route: Route, body: &str) -> Result<Ask, Refusal> {
    Ask::read(route, body.as_bytes(), &config())
}

fn param(refused: Result<Ask, Refusal>) -> Option<String> {
    match refused.unwrap_err() {
        Refusal { status: StatusCode::BAD_REQUEST, kind: Kind::Error { param, .. } } => param,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_completion_without_a_bound_has_sixteen_tokens() {
    let ask = read(Route::Completions, r#"{"model":"tiny","prompt":"12345678"}"#).unwrap();
    assert_eq!((ask.requests.len(), ask.prompt_tokens, ask.requests[0].max_tokens), (1, 2, 16));
    assert!(!ask.natural && !ask.stream);
}

#[test]
fn each_prompt_is_answered_n_times_and_counted_once() {
    let ask = read(Route::Completions, r#"{"model":"tiny","prompt":[[1,2],[3,4,5]],"n":2}"#).unwrap();
    let prompts: Vec<&[u32]> = ask.requests.iter().map(|request| request.tokens.as_slice()).collect();
    assert_eq!(prompts, [&[1, 2][..], &[1, 2], &[3, 4, 5], &[3, 4, 5]]);
    assert_eq!(ask.prompt_tokens, 5);
}

#[test]
fn an_adapters_name_asks_for_the_adapter() {
    let ask = read(Route::Completions, r#"{"model":"lora-a","prompt":"x"}"#).unwrap();
    assert_eq!((ask.model.as_str(), ask.requests[0].adapter.as_deref()), ("lora-a", Some("lora-a")));
}

#[test]
fn the_next_turn_begins_with_all_of_the_last_one() {
    let first = r#"{"messages":[{"role":"user","content":"hello you"}]}"#;
    let next = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"hello you"}]},
        {"role":"assistant","content":" abc"},{"role":"user","content":"more"}]}"#;
    let (first, next) = (read(Route::Chat, first).unwrap(), read(Route::Chat, next).unwrap());
    let (first, next) = (&first.requests[0].tokens, &next.requests[0].tokens);
    assert_eq!(&next[..first.len()], &first[..]);
    assert_eq!(next[first.len()], u32::from_le_bytes(*b" abc"));
}

#[test]
fn the_newer_name_of_the_bound_wins_in_a_chat() {
    let body = r#"{"messages":[{"role":"user","content":"x"}],"max_tokens":3,"max_completion_tokens":4}"#;
    let ask = read(Route::Chat, body).unwrap();
    assert_eq!((ask.requests[0].max_tokens, ask.natural), (4, false));
}

#[test]
fn a_truncated_body_is_refused_with_its_place() {
    let broken = read(Route::Completions, "{\"model\":\"tiny\",\"prompt\":").unwrap_err();
    assert_eq!(broken, Refusal::not_json(25));
    assert_eq!(read(Route::Completions, "{\n\"model\":").unwrap_err(), Refusal::not_json(10));
}

#[test]
fn json_that_is_no_request_is_refused() {
    assert_eq!(param(read(Route::Completions, r#"{"prompt":{}}"#)), None);
    assert_eq!(param(read(Route::Completions, r#"{"model":"tiny"}"#)), Some("prompt".to_owned()));
    assert_eq!(param(read(Route::Chat, r#"{"messages":[]}"#)), None);
    assert_eq!(param(read(Route::Chat, r#"{"prompt":"x"}"#)), None);
}

#[test]
fn bounds_are_kept_at_both_sides_of_the_edge() {
    let prompt = |tokens: usize, answer: usize| {
        let ids = vec!["7"; tokens].join(",");
        read(Route::Completions, &format!(r#"{{"prompt":[{ids}],"max_tokens":{answer}}}"#))
    };
    assert!(prompt(999, 1).is_ok());
    assert_eq!(param(prompt(999, 2)), Some("input_tokens".to_owned()));
    assert_eq!(prompt(1000, 1).unwrap_err(), Refusal::prompt_too_long(1000, 1000));
    assert_eq!(param(prompt(1, 1001)), Some("max_tokens".to_owned()));
    assert_eq!(param(prompt(1, 0)), Some("max_tokens".to_owned()));
    let many = |n: usize| read(Route::Completions, &format!(r#"{{"prompt":"x","n":{n}}}"#));
    assert!(many(CHOICES_MAX).is_ok());
    assert_eq!(param(many(CHOICES_MAX + 1)), Some("n".to_owned()));
    assert_eq!(param(many(0)), Some("n".to_owned()));
}
