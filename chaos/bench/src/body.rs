//! Bodies of requests and answers, of a given size, as clients and engines write them.
//!
//! Must not know which server reads them.

use std::fmt::Write as _;

use murmuration::chance::Chance;

/// Share of a request's text that all requests have in common: a system prompt.
const SHARED: f64 = 0.25;
/// Words between two line breaks, so that the JSON text has escapes.
const WORDS_A_LINE: usize = 12;

/// A chat request of `bytes` bytes. All requests share the beginning of the text; the rest is new for each `number`.
pub(super) fn chat(bytes: usize, number: u64, streaming: bool) -> Vec<u8> {
    let before = r#"{"model":"base","messages":[{"role":"system","content":""#;
    let between = r#""},{"role":"user","content":""#;
    let after = format!("\"}}],\"max_tokens\":1024,\"temperature\":0.7,\"stream\":{streaming}}}");
    let text = bytes.saturating_sub(before.len() + between.len() + after.len());
    let shared = (text as f64 * SHARED) as usize;
    let mut body = String::with_capacity(bytes + 16);
    body.push_str(before);
    words(&mut body, shared, 0);
    body.push_str(between);
    words(&mut body, text - shared, number + 1);
    body.push_str(&after);
    body.into_bytes()
}

/// Appends exactly `bytes` bytes of text, escaped for JSON.
fn words(body: &mut String, bytes: usize, seed: u64) {
    let mut chance = Chance::from_seed(seed);
    let end = body.len() + bytes;
    let mut in_line = 0;
    while body.len() + 16 < end {
        let letters = chance.next_u64();
        for i in 0..3 + (letters >> 60) / 2 {
            body.push(char::from(b'a' + ((letters >> (5 * i)) & 31).min(25) as u8));
        }
        in_line = (in_line + 1) % WORDS_A_LINE;
        body.push_str(if in_line == 0 { "\\n" } else { " " });
    }
    body.extend(std::iter::repeat_n('.', end - body.len()));
}

/// The events of a streamed chat answer, about 250 bytes each; the last one ends it and has the usage.
pub(super) fn events(count: usize) -> Vec<Vec<u8>> {
    let id = "chatcmpl-9a3fbb0d5e2c4f10a6d1d1f3c0a7e8b2";
    let event = |choices: &str, rest: &str| {
        let mut event = String::from("data: ");
        let _ = write!(
            event,
            r#"{{"id":"{id}","object":"chat.completion.chunk","created":1795478400,"model":"base","choices":[{choices}]{rest}}}"#
        );
        event.push_str("\n\n");
        event
    };
    let token =
        event(r#"{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null,"token_ids":null}"#, "");
    let usage = r#","usage":{"prompt_tokens":512,"total_tokens":1512,"completion_tokens":1000}"#;
    let last = event("", usage) + "data: [DONE]\n\n";
    let mut events = vec![token.into_bytes(); count.saturating_sub(1)];
    events.push(last.into_bytes());
    events
}

/// A short answer in one JSON document.
pub(super) fn answer() -> Vec<u8> {
    let text = "The capital of France is Paris. ".repeat(8);
    format!(
        r#"{{"id":"chatcmpl-9a3fbb0d5e2c4f10","object":"chat.completion","created":1795478400,"model":"base","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"logprobs":null,"finish_reason":"stop"}}],"usage":{{"prompt_tokens":512,"total_tokens":576,"completion_tokens":64,"prompt_tokens_details":{{"cached_tokens":128}}}}}}"#
    )
    .into_bytes()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_chat_request_is_json_of_the_requested_size() {
        for bytes in [1 << 10, 128 << 10, 450 << 10] {
            let body = chat(bytes, 7, true);
            assert_eq!(body.len(), bytes);
            let json: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(json["stream"], true);
            let system = json["messages"][0]["content"].as_str().unwrap();
            let other: Value = serde_json::from_slice(&chat(bytes, 8, true)).unwrap();
            assert_eq!(other["messages"][0]["content"], system);
            assert_ne!(other["messages"][1]["content"], json["messages"][1]["content"]);
        }
    }

    #[test]
    fn answers_are_what_engines_send() {
        let events = events(1000);
        assert_eq!(events.len(), 1000);
        let token = std::str::from_utf8(&events[0]).unwrap();
        assert!((200..300).contains(&token.len()), "{}", token.len());
        for event in &events {
            let json = std::str::from_utf8(event).unwrap().strip_prefix("data: ").unwrap().lines().next().unwrap();
            let _: Value = serde_json::from_str(json).unwrap();
        }
        let json: Value = serde_json::from_slice(&answer()).unwrap();
        assert_eq!(json["usage"]["completion_tokens"], 64);
    }
}
