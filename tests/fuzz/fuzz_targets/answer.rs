//! Answers of engines: the result does not depend on how the bytes are cut into pieces, and for a JSON document it
//! agrees with a parsed tree. The last four bytes of the input choose the pieces.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use murmuration::dialect::json_answer::{CAPTURE_BYTES_MAX, JsonReader};
use murmuration::dialect::sse::SseReader;
use serde_json::Value;

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((answer, sizes)) = input.split_last_chunk::<4>() else { return Corpus::Reject };
    let pieces = cut(answer, sizes);
    assert_eq!(streamed(&[answer]), streamed(&pieces));
    let (usage, error) = document(&[answer]);
    assert_eq!((usage, error), document(&pieces));
    if let Ok(Value::Object(tree)) = serde_json::from_slice(answer) {
        let simple = !answer.contains(&b'\\') && answer.len() < CAPTURE_BYTES_MAX;
        let flat = !tree.contains_key("response") && !tree.contains_key("message");
        let counts = &tree.get("usage").cloned().unwrap_or_default();
        if let (true, true, None, Some(prompt)) =
            (simple, flat, counts.get("input_tokens"), counts.get("prompt_tokens").and_then(Value::as_u64))
        {
            assert_eq!(usage.map(|usage| usage.prompt_tokens), Some(prompt));
        }
        let is_error = |value: &Value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
            _ => true,
        };
        if simple && tree.get("error").is_some_and(is_error) {
            assert!(error);
        }
    }
    Corpus::Keep
});

/// `bytes` in pieces of these sizes, in turn. No piece is empty.
fn cut<'a>(mut bytes: &'a [u8], sizes: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for size in sizes.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at((usize::from(*size) + 1).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

type Seen = (Option<murmuration::request::Usage>, bool);

fn document(pieces: &[&[u8]]) -> Seen {
    let mut reader = JsonReader::new();
    pieces.iter().for_each(|piece| reader.push(piece));
    (reader.usage(), reader.error())
}

fn streamed(pieces: &[&[u8]]) -> (Seen, bool, bool, u64) {
    let mut reader = SseReader::new();
    pieces.iter().for_each(|piece| reader.push(piece));
    ((reader.usage(), reader.error()), reader.first_token(), reader.done(), reader.long_lines())
}
