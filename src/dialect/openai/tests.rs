//! What reading a request body promises.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::prefix::{Cut, PrefixChain};

const CUT: Cut = Cut { block_tokens: 2, bytes_per_token: 4, blocks_max: 4096, tier_salt: 0 };

fn chat(body: &str) -> Result<RequestBody, String> {
    RequestBody::read(Api::ChatCompletions, body.as_bytes()).map_err(|error| error.to_string())
}

fn completion(body: &str) -> Result<RequestBody, String> {
    RequestBody::read(Api::Completions, body.as_bytes()).map_err(|error| error.to_string())
}

fn chain_of(api: Api, body: &Value) -> PrefixChain {
    let body = body.to_string();
    let read = RequestBody::read(api, body.as_bytes()).unwrap();
    read_prompt(body.as_bytes(), &read, &read.model.name, CUT).0.chain
}

#[test]
fn a_path_tells_its_api_by_its_ending() {
    assert_eq!(Api::of_path("/v1/chat/completions"), Some(Api::ChatCompletions));
    assert_eq!(Api::of_path("/tenant/v1/chat/completions?x=/completions"), Some(Api::ChatCompletions));
    assert_eq!(Api::of_path("/v1/completions"), Some(Api::Completions));
    assert_eq!(Api::of_path("/v1/notchat/completions"), Some(Api::Completions));
    assert_eq!(Api::of_path("/v1/models"), None);
    assert_eq!(Api::of_path("/v1/completions/render"), None);
}

#[test]
fn options_are_read_wherever_they_stand() {
    let body = r#"{"messages":[{"role":"user","content":"hi"}],"stream":true,"max_tokens":5,"cache_salt":"s","model":"m\u00e9"}"#;
    let read = chat(body).unwrap();
    assert_eq!((read.model.name.as_str(), read.stream, read.max_output_tokens), ("mé", true, Some(5)));
    assert_eq!(read.cache_salt.as_deref(), Some("s"));
    assert_eq!(&body[read.model.span], r#""m\u00e9""#);
}

#[test]
fn of_a_key_that_comes_twice_the_last_one_counts() {
    assert_eq!(chat(r#"{"model":"a","messages":[],"model":"b"}"#).unwrap().model.name, "b");
}

#[test]
fn a_model_is_spliced_in_place_and_nothing_else_moves() {
    let body = r#"{ "n": 12345678901234567890, "model" : "old", "messages": [], "n": 1e400, "html": "<&>" }"#;
    let (span, new) = chat(body).unwrap().model_splice("new \"x\"");
    let mut bytes = body.as_bytes().to_vec();
    bytes.splice(span, new);
    assert_eq!(String::from_utf8(bytes).unwrap(), body.replace(r#""old""#, r#""new \"x\"""#));
}

#[test]
fn errors_name_the_place_and_what_was_expected() {
    let cases = [
        ("{", "the body: EOF while parsing"),
        ("[1]", "expected a JSON object with a model"),
        (r#"{"messages":[]}"#, "model is missing"),
        (r#"{"model":7,"messages":[]}"#, "model must be a string, got a number"),
        (r#"{"model":"m"}"#, "messages is missing"),
        (r#"{"model":"m","messages":{}}"#, "messages must be an array, got an object"),
        (r#"{"model":"m","messages":[{},"x"]}"#, "messages[1] must be an object, got a string"),
        (r#"{"model":"m","messages":null}"#, "messages must be an array, got null"),
        (r#"{"model":"m","messages":"\n"}"#, "messages must be an array, got a string"),
        (r#"{"model":"m","messages":-1}"#, "messages must be an array, got a number"),
        (r#"{"model":"m","messages":[true]}"#, "messages[0] must be an object, got a boolean"),
        (r#"{"model":"m","messages":[[{}],{}]}"#, "messages[0] must be an object, got an array"),
        (r#"{"model":"m","messages":[{},null]}"#, "messages[1] must be an object, got null"),
        (r#"{"model":"m","messages":[{},1.5]}"#, "messages[1] must be an object, got a number"),
        (
            r#"{"model":"m","messages":[{"content":7}]}"#,
            "messages[0].content must be a string, null or an array of parts, got a number",
        ),
        (
            r#"{"model":"m","messages":[{"content":[{"text":"a"},3]}]}"#,
            "messages[0].content[1] must be an object, got a number",
        ),
    ];
    for (body, expected) in cases {
        let error = chat(body).unwrap_err();
        assert!(error.contains(expected), "{body}: {error}");
    }
    let error = completion(r#"{"model":"m","prompt":{"a":1}}"#).unwrap_err();
    assert!(error.contains("prompt must be a string, strings or token ids, got an object"), "{error}");
    assert!(completion(r#"{"model":"m","prompt":[1,2.5]}"#).unwrap_err().contains("whole numbers"));
    let error = RequestBody::read(Api::Completions, b"{\"model\":\"\xff\"}").unwrap_err().to_string();
    assert!(error.contains("not UTF-8 at byte 10"), "{error}");
}

#[test]
fn a_million_brackets_are_an_error_and_not_the_end_of_the_stack() {
    for place in
        [r#""messages":[],"x":"#, r#""messages":[{"content":"#, r#""messages":[7,"#, r#""messages":"#, r#""tools":"#]
    {
        let deep = format!(r#"{{"model":"m",{place}{}"#, "[".repeat(1_000_000));
        assert!(chat(&deep).is_err(), "{place}");
    }
}

#[test]
fn a_conversation_that_goes_on_shares_all_that_was_said() {
    let messages = json!([
        {"role": "system", "content": "You are terse and exact, and you never guess."},
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "data:abc"}}]},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "function": {"name": "look"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "a cat"},
    ]);
    let short = chain_of(Api::ChatCompletions, &json!({"model": "m", "messages": messages.as_array().unwrap()[..3]}));
    let long = chain_of(Api::ChatCompletions, &json!({"stream": true, "messages": messages, "model": "m"}));
    assert!(short.blocks().len() > 10);
    assert!(long.blocks().starts_with(&short.blocks()[..short.blocks().len() - 1]));
    let other = chain_of(Api::ChatCompletions, &json!({"model": "n", "messages": messages}));
    assert_ne!(other.blocks()[0], long.blocks()[0]);
}

#[test]
fn token_ids_are_tokens_and_text_is_estimated() {
    let tokens = |body: &str| {
        let read = completion(body).unwrap();
        read_prompt(body.as_bytes(), &read, "m", CUT).0.tokens
    };
    assert_eq!(tokens(r#"{"model":"m","prompt":[11, 22,33]}"#), 3);
    assert_eq!(tokens(r#"{"model":"m","prompt":[[1,2],[3,4]]}"#), 4);
    assert_eq!(tokens(r#"{"model":"m","prompt":"123456789"}"#), 3);
    assert_eq!(tokens(r#"{"model":"m","prompt":["1234","5678"]}"#), 2);
    let ids = chain_of(Api::Completions, &json!({"model": "m", "prompt": [1, 2, 3, 4]}));
    let more = chain_of(Api::Completions, &json!({"model": "m", "prompt": [1, 2, 3, 4, 5, 6]}));
    assert_eq!(ids.blocks()[..1], more.blocks()[..1]);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for api in [Api::ChatCompletions, Api::Completions] {
            let _ = RequestBody::read(api, &bytes);
        }
    }

    #[test]
    fn no_change_of_one_byte_makes_it_panic(at in 0usize..120, byte in any::<u8>()) {
        let body = br#"{"model":"m","messages":[{"role":"user","content":[{"text":"a"},{"image_url":{"url":"x"}}]}],"prompt":[1,2],"stream":true}"#;
        let mut body = body.to_vec();
        let at = at.min(body.len() - 1);
        body[at] = byte;
        for api in [Api::ChatCompletions, Api::Completions] {
            if let Ok(read) = RequestBody::read(api, &body) {
                read_prompt(&body, &read, "m", CUT);
            }
        }
    }

    #[test]
    fn it_reads_what_a_tree_would_hold(model in "\\PC{0,12}", contents in proptest::collection::vec("\\PC{0,40}", 0..5)) {
        let messages: Vec<Value> = contents.iter().map(|text| json!({"role": "user", "content": text})).collect();
        let body = json!({"x": {"model": "no"}, "model": model, "messages": messages}).to_string();
        let read = chat(&body).unwrap();
        prop_assert_eq!(&read.model.name, &model);
        let texts: Vec<String> = read.pieces.iter().skip(1).step_by(2)
            .map(|piece| serde_json::from_str(&format!("\"{}\"", &body[piece.span.clone()])).unwrap())
            .collect();
        prop_assert_eq!(texts, contents);
    }
}
