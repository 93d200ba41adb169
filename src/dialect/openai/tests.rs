//! Tests of reading a request body.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod admitted;
mod canonical;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::prefix::{BlockSpec, PrefixChain};

const SPEC: BlockSpec = BlockSpec { block_tokens: 2, bytes_per_token: 4, blocks_max: 4096, tier_salt: 0 };

/// Reads the body and its prompt.
fn read(api: Api, body: &str) -> Result<RequestBody, String> {
    let read = RequestBody::read(api, body.as_bytes()).map_err(|error| error.to_string())?;
    read_prompt(body.as_bytes(), &read, &read.model.name, SPEC).map_err(|error| error.to_string())?;
    Ok(read)
}

fn chat(body: &str) -> Result<RequestBody, String> {
    read(Api::Chat, body)
}

fn completion(body: &str) -> Result<RequestBody, String> {
    read(Api::Completions, body)
}

fn prompt_of(api: Api, body: &str) -> (crate::request::Prompt, u64) {
    let read = RequestBody::read(api, body.as_bytes()).unwrap();
    read_prompt(body.as_bytes(), &read, &read.model.name, SPEC).unwrap()
}

fn chain_of(api: Api, body: &Value) -> PrefixChain {
    prompt_of(api, &body.to_string()).0.chain
}

/// Blocks that two bodies share, of those that the shorter one has.
fn shared(api: Api, a: &str, b: &str) -> (usize, usize) {
    let (a, b) = (prompt_of(api, a).0.chain, prompt_of(api, b).0.chain);
    let same = a.blocks().iter().zip(b.blocks()).take_while(|(a, b)| a == b).count();
    (same, a.blocks().len().min(b.blocks().len()))
}

#[test]
fn the_ending_of_a_path_selects_its_api() {
    assert_eq!(Api::of_path("/v1/chat/completions"), Some(Api::Chat));
    assert_eq!(Api::of_path("/tenant/v1/chat/completions?x=/completions"), Some(Api::Chat));
    assert_eq!(Api::of_path("/v1/chat/completions/"), Some(Api::Chat));
    assert_eq!(Api::of_path("/v1/completions"), Some(Api::Completions));
    assert_eq!(Api::of_path("/v1/notchat/completions"), Some(Api::Completions));
    assert_eq!(Api::of_path("/v1/completions/render"), Some(Api::Completions));
    assert_eq!(Api::of_path("/v1/responses"), Some(Api::Responses));
    for other in ["/v1/messages", "/v1/embeddings", "/rerank", "/v2/rerank", "/tokenize", "/inference/v1/generate"] {
        assert_eq!(Api::of_path(other), Some(Api::Other), "{other}");
    }
    for unknown in ["/v1/models", "/v1/load_lora_adapter", "/", ""] {
        assert_eq!(Api::of_path(unknown), None, "{unknown}");
    }
}

#[test]
fn options_are_read_wherever_they_are() {
    let body = r#"{"messages":[{"role":"user","content":"hi"}],"stream":true,"max_tokens":5,"max_completion_tokens":null,"cache_salt":"s","model":"m\u00e9"}"#;
    let read = chat(body).unwrap();
    assert_eq!((read.model.name.as_str(), read.stream, read.max_output_tokens), ("mé", true, Some(5)));
    assert_eq!(read.cache_salt.as_deref(), Some("s"));
    assert_eq!(&body[read.model.span], r#""m\u00e9""#);
}

#[test]
fn of_a_repeated_key_the_last_one_counts() {
    assert_eq!(chat(r#"{"model":"a","messages":[],"mod\u0065l":"b"}"#).unwrap().model.name, "b");
}

fn spliced(body: &str, model: &str) -> String {
    let (span, new) = RequestBody::read(Api::Other, body.as_bytes()).unwrap().model_splice(model);
    let mut bytes = body.as_bytes().to_vec();
    bytes.splice(span, new);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_model_is_spliced_in_place_and_nothing_else_moves() {
    let body = r#"{ "n": 12345678901234567890, "model" : "old", "messages": [], "n": 1e400, "html": "<&>" }"#;
    assert_eq!(spliced(body, "new \"x\""), body.replace(r#""old""#, r#""new \"x\"""#));
}

#[test]
fn a_body_without_a_model_gets_one_as_its_first_field() {
    assert_eq!(spliced(r#"{ "a":1}"#, "m"), r#"{"model":"m", "a":1}"#);
    assert_eq!(spliced("{ }", "m"), r#"{"model":"m" }"#);
    assert_eq!(spliced(r#"{"model":null}"#, "m"), r#"{"model":"m"}"#);
    assert_eq!(spliced("\u{feff}{\"model\":\"\"}", "m"), "\u{feff}{\"model\":\"m\"}");
}

#[test]
fn a_model_that_is_missing_null_or_empty_is_the_engines_only_one() {
    for field in ["", r#""model":null,"#, r#""model":"","#] {
        let read = chat(&format!(r#"{{{field}"messages":[]}}"#)).unwrap();
        assert_eq!((read.model.name.as_str(), read.names_model), ("", !field.is_empty()), "{field}");
    }
}

#[test]
fn a_model_name_over_256_bytes_is_refused_before_it_is_copied() {
    let name = |length: usize| format!(r#"{{"model":"{}","messages":[]}}"#, "m".repeat(length));
    assert!(chat(&name(256)).is_ok());
    for length in [257, 2_000, 1 << 20] {
        assert!(
            chat(&name(length)).unwrap_err().starts_with(&format!("model is a name of {length} bytes; at most 256"))
        );
    }
    assert!(
        chat(&name(256).replace('m', r"\u006d").replace(r#""\u006dodel""#, r#""model""#).replace(r"\u006dess", "mess"))
            .is_ok()
    );
}

#[test]
fn errors_name_the_place_and_what_was_expected() {
    let cases = [
        ("{", "the body: EOF while parsing"),
        ("[1]", "expected a JSON object with a model"),
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
    let parts = r#"[{"content":"#.repeat(400) + "1" + &"}]".repeat(400);
    assert!(chat(&format!(r#"{{"messages":[{{"content":{parts}}}]}}"#)).is_ok());
}

#[test]
fn a_longer_conversation_shares_its_earlier_blocks() {
    let messages = json!([
        {"role": "system", "content": "You are terse and exact, and you never guess."},
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "data:abc"}}]},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "function": {"name": "look"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "a cat"},
    ]);
    let short = chain_of(Api::Chat, &json!({"model": "m", "messages": messages.as_array().unwrap()[..3]}));
    let long = chain_of(Api::Chat, &json!({"stream": true, "messages": messages, "model": "m"}));
    assert!(short.blocks().len() > 10);
    assert!(long.blocks().starts_with(&short.blocks()[..short.blocks().len() - 1]));
    let other = chain_of(Api::Chat, &json!({"model": "n", "messages": messages}));
    assert_ne!(other.blocks()[0], long.blocks()[0]);
}

#[test]
fn token_ids_are_tokens_and_text_is_estimated() {
    let tokens = |body: &str| prompt_of(Api::Completions, body).0.tokens;
    assert_eq!(tokens(r#"{"model":"m","prompt":[11, 22,33]}"#), 3);
    assert_eq!(tokens(r#"{"model":"m","prompt":[[1,2],[3,4]]}"#), 4);
    assert_eq!(tokens(r#"{"model":"m","prompt":"123456789"}"#), 3);
    assert_eq!(tokens(r#"{"model":"m","prompt":["1234","5678"]}"#), 2);
    let ids = chain_of(Api::Completions, &json!({"model": "m", "prompt": [1, 2, 3, 4]}));
    let more = chain_of(Api::Completions, &json!({"model": "m", "prompt": [1, 2, 3, 4, 5, 6]}));
    assert_eq!(ids.blocks()[..1], more.blocks()[..1]);
}

#[test]
fn an_image_takes_as_many_blocks_as_tokens_however_large_its_data_is() {
    let with = |data: &str| {
        let part = json!({"type": "image_url", "image_url": {"url": data}});
        let (prompt, _) = prompt_of(Api::Chat, &json!({"messages": [{"role": "user", "content": [part]}]}).to_string());
        (prompt.tokens, prompt.chain.blocks().len())
    };
    assert_eq!(with("data:abc"), with(&"A".repeat(1 << 20)));
}

const ALL: [Api; 5] = [Api::Chat, Api::ChatBatch, Api::Completions, Api::Responses, Api::Other];

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for api in ALL {
            let _ = RequestBody::read(api, &bytes);
        }
    }

    #[test]
    fn no_change_of_one_byte_makes_it_panic(at in 0usize..120, byte in any::<u8>()) {
        let body = br#"{"model":"m","messages":[{"role":"user","content":[{"text":"a"},{"image_url":{"url":"x"}}]}],"prompt":[1,2],"stream":true}"#;
        let mut body = body.to_vec();
        let at = at.min(body.len() - 1);
        body[at] = byte;
        for api in ALL {
            if let Ok(read) = RequestBody::read(api, &body) {
                let _ = read_prompt(&body, &read, "m", SPEC);
            }
        }
    }

    #[test]
    fn it_reads_what_a_tree_would_hold(model in "\\PC{1,12}", contents in proptest::collection::vec("\\PC{0,40}", 0..5)) {
        let messages: Vec<Value> = contents.iter().map(|text| json!({"role": "user", "content": text})).collect();
        let body = json!({"x": {"model": "no"}, "model": model, "messages": messages}).to_string();
        let read = chat(&body).unwrap();
        prop_assert_eq!(&read.model.name, &model);
        let bytes: usize = contents.iter().map(|text| text.len() + 4).sum();
        prop_assert_eq!(prompt_of(Api::Chat, &body).0.tokens, (bytes as u64).div_ceil(4));
    }
}
