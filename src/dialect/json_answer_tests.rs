//! Tests of reading a whole response.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const ANSWER: &str = include_str!("../../tests/fixtures/vllm/ok-chat-usage-cached.txt");

fn read(pieces: &[&[u8]]) -> JsonReader {
    let mut reader = JsonReader::new();
    pieces.iter().for_each(|piece| reader.push(piece));
    reader
}

#[test]
fn a_real_answers_usage_is_found() {
    let body = &ANSWER[ANSWER.find("{\"id\"").unwrap()..];
    let expected = Usage { prompt_tokens: 16, completion_tokens: 3, cached_tokens: Some(0) };
    assert_eq!(read(&[body.as_bytes()]).usage(), Some(expected));
    assert!(!read(&[body.as_bytes()]).error());
}

#[test]
fn only_the_top_level_counts_and_the_response_or_message_of_an_event() {
    let body = r#"{"choices":[{"usage":{"prompt_tokens":9}}],"text":"\"usage\":{\"prompt_tokens\":8}","error":null,"x":{"usage":{"prompt_tokens":9}},"us\u0061ge":{"prompt_tokens":9}}"#;
    let reader = read(&[body.as_bytes()]);
    assert_eq!((reader.usage(), reader.error()), (None, false));
    for key in ["response", "message"] {
        let body = format!(
            r#"{{"{key}":{{"content":[{{"usage":1}}],"usage":{{"input_tokens":5}},"error":null}},"z":{{"usage":2}}}}"#
        );
        let reader = read(&[body.as_bytes()]);
        assert_eq!((reader.usage().unwrap().prompt_tokens, reader.error()), (5, false));
    }
    let list = br#"{"response":[{"usage":{"input_tokens":5}}],"message":"x","y":{"usage":{"input_tokens":5}}}"#;
    assert_eq!(read(&[list]).usage(), None);
}

#[test]
fn errors_are_recognized_and_empty_ones_are_none() {
    for error in [
        r#"{"object":"error","message":"no","code":503}"#,
        r#"{"error":{"message":"no","code":503}}"#,
        r#"{"error":"no"}"#,
        r#"{"type":"error","message":"no"}"#,
        r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error"}}}"#,
        r#"{"response":{"status":"failed"}}"#,
        r#"{"id":"resp_1","status":"failed"}"#,
    ] {
        assert!(read(&[error.as_bytes()]).error(), "{error}");
    }
    for fine in [
        r#"{"error":null}"#,
        r#"{"error":{}}"#,
        r#"{"error": { } }"#,
        r#"{"error":""}"#,
        r#"{"error":[]}"#,
        r#"{"error":false}"#,
        r#"{"type":"message","status":"completed","x":{"error":"no"},"text":"\"error\":1"}"#,
        r#"{"response":{"status":"incomplete","error":null}}"#,
        r#"{"content":[{"type":"error"}]}"#,
    ] {
        assert!(!read(&[fine.as_bytes()]).error(), "{fine}");
    }
}

#[test]
fn a_usage_without_end_is_not_kept_without_bound() {
    let mut reader = read(&[br#"{"usage":{"x":""#]);
    (0..100).for_each(|_| reader.push(&[b'a'; 1000]));
    assert!(reader.captured.len() <= CAPTURE_BYTES_MAX);
}

proptest! {
    #[test]
    fn how_an_answer_is_cut_does_not_matter(text in "\\PC{0,30}", tokens in 0u64..99, cuts in proptest::collection::vec(0usize..200, 0..5)) {
        let body: Value = json!({"a": [text, {"usage": 1}], "usage": {"prompt_tokens": tokens, "completion_tokens": 2}, "z": text});
        let bytes = body.to_string().into_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let usage = read(&pieces).usage().unwrap();
        prop_assert_eq!((usage.prompt_tokens, usage.completion_tokens), (tokens, 2));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        read(&[&bytes]);
    }
}
