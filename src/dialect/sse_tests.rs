//! Tests of reading a streamed response, on responses of a real vLLM.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;

const CHAT: &[u8] = include_bytes!("../../tests/fixtures/vllm/chat-stream-usage.raw");
const CHAT_NO_USAGE: &[u8] = include_bytes!("../../tests/fixtures/vllm/chat-stream-nousage.raw");
const CONTINUOUS: &[u8] = include_bytes!("../../tests/fixtures/vllm/completion-stream-continuous-usage.raw");
const MESSAGES: &[u8] = include_bytes!("../../tests/fixtures/vllm/messages-stream.raw");
const RESPONSES: &[u8] = include_bytes!("../../tests/fixtures/vllm/responses-stream.raw");
const BUSY: &str = "data: {\"error\": {\"message\": \"The engine is currently busy and cannot accept new requests.\", \
                    \"type\": \"Service Unavailable\", \"param\": null, \"code\": 503}}\n\ndata: [DONE]\n\n";

/// The body of a captured response: its chunks without the sizes of the chunked coding.
fn body(raw: &[u8]) -> Vec<u8> {
    let mut rest = &raw[memmem::find(raw, b"\r\n\r\n").unwrap() + 4..];
    let mut body = Vec::new();
    while let Some(line) = memmem::find(rest, b"\r\n") {
        let size = std::str::from_utf8(&rest[..line]).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        body.extend_from_slice(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 2 + size + 2..];
        if size == 0 {
            break;
        }
    }
    body
}

fn read(pieces: &[&[u8]]) -> SseReader {
    let mut reader = SseReader::new();
    pieces.iter().for_each(|piece| reader.push(piece));
    reader
}

fn facts(reader: &SseReader) -> (bool, bool, bool, Option<Usage>) {
    (reader.first_token(), reader.error(), reader.done(), reader.usage())
}

#[test]
fn every_captured_stream_gives_its_tokens_usage_and_end() {
    for (name, raw, usage, done) in [
        ("chat", CHAT, true, true),
        ("chat without usage", CHAT_NO_USAGE, false, true),
        ("continuous usage", CONTINUOUS, true, true),
        ("messages", MESSAGES, true, false),
        ("responses", RESPONSES, true, false),
    ] {
        let reader = read(&[&body(raw)]);
        assert!(reader.first_token() && !reader.error(), "{name}");
        assert_eq!((reader.usage().is_some(), reader.done()), (usage, done), "{name}");
    }
    let usage = read(&[&body(CHAT)]).usage().unwrap();
    assert!(usage.prompt_tokens > 0 && usage.completion_tokens > 0);
}

#[test]
fn a_stream_whose_only_event_is_an_error_has_no_token() {
    assert_eq!(facts(&read(&[BUSY.as_bytes()])), (false, true, true, None));
}

#[test]
fn keep_alives_roles_and_empty_texts_are_no_tokens() {
    let quiet = ": keep-alive\n\ndata: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    let mut reader = read(&[quiet.as_bytes()]);
    assert!(!reader.first_token());
    reader.push(b"data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n");
    assert!(reader.first_token());
}

#[test]
fn the_word_error_in_generated_text_is_no_error() {
    let event = br#"data: {"choices":[{"delta":{"content":"{\"error\":{}}"}}],"error":null}"#;
    assert!(!read(&[event, b"\n\n"]).error());
}

#[test]
fn an_endless_line_is_skipped_and_what_follows_is_read() {
    let mut reader = SseReader::new();
    reader.push(b"data: {\"x\":\"");
    (0..1000).for_each(|_| reader.push(&[b'a'; 1000]));
    assert!(reader.partial.capacity() <= 2 * LINE_BYTES_MAX);
    reader.push(b"\"}\n");
    reader.push(BUSY.as_bytes());
    assert_eq!((reader.long_lines(), reader.error()), (1, true));
}

#[test]
fn a_long_event_gives_its_usage_and_its_error_however_it_is_cut() {
    let text = "a".repeat(LINE_BYTES_MAX);
    let completed = format!(
        r#"data: {{"type":"response.completed","response":{{"status":"completed","error":null,"instructions":"{text}","usage":{{"input_tokens":9,"output_tokens":4}}}}}}"#
    );
    let failed = completed.replace("completed\"", "failed\"").replace("null", r#"{"code":"server_error"}"#);
    for (event, error) in [(completed, false), (failed, true)] {
        let event = event + "\n\n";
        for size in [3, 1000, event.len()] {
            let reader = read(&event.as_bytes().chunks(size).collect::<Vec<_>>());
            let usage = reader.usage().unwrap();
            assert_eq!((usage.prompt_tokens, usage.completion_tokens, reader.error()), (9, 4, error), "{size}");
            assert_eq!((reader.first_token(), reader.long_lines()), (false, 1), "{size}");
        }
    }
}

#[test]
fn usage_in_two_events_is_merged() {
    let events = [
        r#"data: {"type":"message_start","message":{"usage":{"input_tokens":11,"cache_read_input_tokens":4,"output_tokens":0}}}"#,
        r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":3}}"#,
        r#"data: {"type":"message_stop","usage":null}"#,
    ];
    let stream = events.join("\n\n") + "\n\n";
    let expected = Usage { prompt_tokens: 11, completion_tokens: 3, cached_tokens: Some(4) };
    assert_eq!(read(&[stream.as_bytes()]).usage(), Some(expected));
    let both = "data: {\"usage\":{\"prompt_tokens\":5.0,\"input_tokens\":5,\"completion_tokens\":2,\"x\":\"y\"}}\n\n";
    let expected = Usage { prompt_tokens: 5, completion_tokens: 2, cached_tokens: None };
    assert_eq!(read(&[both.as_bytes()]).usage(), Some(expected));
}

#[test]
fn a_failed_response_is_an_error_and_an_empty_error_is_none() {
    let error = |data: &str| read(&[b"data: ", data.as_bytes(), b"\n\n"]).error();
    assert!(error(r#"{"type":"response.failed","response":{"id":"r","status":"failed"}}"#));
    assert!(error(r#"{"type":"error","error":{"type":"overloaded_error"}}"#));
    assert!(!error(r#"{"choices":[],"error":{}}"#));
    assert!(!error(r#"{"choices":[],"error":null}"#));
}

#[test]
fn lines_may_end_as_in_windows() {
    let windows = BUSY.replace('\n', "\r\n");
    assert_eq!(facts(&read(&[windows.as_bytes()])), (false, true, true, None));
}

proptest! {
    #[test]
    fn how_a_stream_is_cut_does_not_matter(which in 0usize..6, cuts in proptest::collection::vec(0usize..5000, 0..6)) {
        let all = [body(CHAT), body(CHAT_NO_USAGE), body(CONTINUOUS), body(MESSAGES), body(RESPONSES), BUSY.into()];
        let bytes = &all[which];
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(facts(&read(&pieces)), facts(&read(&[bytes])));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        read(&[b"data: ", &bytes]);
    }
}
