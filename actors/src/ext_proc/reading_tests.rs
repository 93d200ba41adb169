//! Which bodies are read, which are sent on unread, and which are refused.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use murmuration::request::Rewrites;
use murmuration::request::rewrites::{Rewrite, RewriteRule};

use super::*;
use crate::ext_proc::exchange::tests::settings;

fn unread<'a>(path: &'a str, body: &'a [u8], rewrite: Option<&'a str>) -> Unread<'a> {
    Unread { salt: 0, path, encoding: None, body, rewrite }
}

const PROMPT: &str = "a prompt that is long enough for a block of its own, whatever the API that it is sent to may be called: \
                      four bytes for a token, sixty-four tokens for a block, and a few bytes more for what stands around it all, \
                      which makes some three hundred bytes that must be written here, and now they are";

#[test]
fn each_json_api_is_read_hashed_and_rewritten() {
    let cases = [
        ("/v1/chat/completions", r#""messages":[{"role":"user","content":"PROMPT"}]"#),
        ("/v1/chat/completions/render", r#""messages":[{"role":"user","content":"PROMPT"}]"#),
        ("/v1/chat/completions/batch", r#""messages":[[{"role":"user","content":"PROMPT"}]]"#),
        ("/v1/completions", r#""prompt":"PROMPT""#),
        ("/v1/completions/render", r#""prompt":"PROMPT""#),
        ("/v1/responses", r#""input":"PROMPT""#),
        ("/v1/messages", r#""system":"PROMPT","messages":[]"#),
        ("/v1/messages/count_tokens", r#""messages":[{"role":"user","content":"PROMPT"}]"#),
        ("/v1/embeddings", r#""input":["PROMPT"]"#),
        ("/pooling", r#""input":"PROMPT""#),
        ("/classify", r#""input":"PROMPT""#),
        ("/rerank", r#""query":"PROMPT","documents":["a"]"#),
        ("/v2/rerank", r#""query":"a","documents":["PROMPT"]"#),
        ("/v1/score", r#""text_1":"PROMPT","text_2":"a""#),
        ("/tokenize", r#""prompt":"PROMPT""#),
        ("/generate", r#""text":"PROMPT""#),
        ("/v1/what/comes/next", r#""prompt":"PROMPT""#),
    ];
    for (path, fields) in cases {
        let body = format!(r#"{{{},"model":"base"}}"#, fields.replace("PROMPT", PROMPT));
        let parsed = read(&settings(), unread(path, body.as_bytes(), Some("tuned"))).unwrap().unwrap();
        assert_eq!((parsed.incoming_model.as_str(), parsed.target_model.as_str()), ("base", "tuned"), "{path}");
        assert!(!parsed.prompt.chain.blocks().is_empty(), "{path}");
        let edit = parsed.edit.unwrap();
        assert_eq!((&body[edit.span], edit.replacement.as_slice()), (r#""base""#, br#""tuned""#.as_slice()), "{path}");
    }
}

#[test]
fn a_known_api_without_a_model_is_given_the_rewritten_one() {
    for body in [r#"{"messages":[]}"#, r#"{"model":null,"messages":[]}"#, r#"{"model":"","messages":[]}"#] {
        let parsed = read(&settings(), unread("/v1/chat/completions", body.as_bytes(), None)).unwrap().unwrap();
        assert_eq!((parsed.target_model.as_str(), parsed.edit), ("", None), "{body}");
        let parsed = read(&settings(), unread("/v1/chat/completions", body.as_bytes(), Some("m"))).unwrap().unwrap();
        assert!(parsed.edit.is_some(), "{body}");
    }
}

#[test]
fn a_body_that_is_no_json_with_a_model_goes_on_unread_where_json_is_not_required() {
    let bodies: [&[u8]; 4] = [b"--form\r\n", b"\xff\xd8\xff", br#"{"lora_name":"a"}"#, br#"{"model":7}"#];
    for body in bodies {
        assert!(read(&settings(), unread("/v1/audio/transcriptions", body, None)).unwrap().is_none());
    }
    assert!(read(&settings(), unread("/invocations", b"a,b\n", None)).unwrap().is_none());
    assert!(read(&settings(), unread("/v1/chat/completions", b"a,b\n", None)).is_err());
    assert!(read(&settings(), unread("/v1/load_lora_adapter", br#"{"lora_name":"a"}"#, Some("m"))).unwrap().is_none());
    let refusal = read(&settings(), unread("/v1/audio/transcriptions", b"--form", Some("m"))).unwrap_err();
    assert!(refusal.sentence.contains("its model can't be rewritten"), "{refusal}");
}

#[test]
fn a_compressed_body_goes_on_unread_and_a_rewrite_of_it_is_refused() {
    let gzip =
        |rewrite| Unread { encoding: Some("GZIP"), ..unread("/v1/chat/completions", b"\x1f\x8b\x08\0", rewrite) };
    assert!(read(&settings(), gzip(None)).unwrap().is_none());
    let refusal = read(&settings(), gzip(Some("m"))).unwrap_err();
    assert!(refusal.sentence.contains("content-encoding: GZIP") && refusal.sentence.contains("send it uncompressed"));
    let plain = Unread { encoding: Some("Identity"), ..unread("/v1/completions", br#"{"prompt":"x"}"#, None) };
    assert!(read(&settings(), plain).unwrap().is_some());
}

#[test]
fn a_model_name_over_256_bytes_is_refused() {
    for (path, field) in [("/v1/completions", r#""prompt":"x""#), ("/v1/embeddings", r#""input":"x""#)] {
        let body = format!(r#"{{"model":"{}",{field}}}"#, "m".repeat(257));
        let refusal = read(&settings(), unread(path, body.as_bytes(), None)).unwrap_err();
        assert!(refusal.sentence.contains("257 bytes; at most 256"), "{refusal}");
    }
}

#[test]
fn media_types_ignore_case() {
    let usage = |content_type: &str, answer: &[u8]| {
        let mut reader = AnswerReader::of(content_type, false);
        reader.push(answer);
        reader.usage().map(|usage| usage.prompt_tokens)
    };
    let json = br#"{"usage":{"prompt_tokens":3}}"#;
    for content_type in ["application/json", "Application/JSON; charset=UTF-8", "application/problem+json"] {
        assert_eq!(usage(content_type, json), Some(3), "{content_type}");
    }
    let event = b"data: {\"usage\":{\"prompt_tokens\":3}}\n\n";
    for content_type in ["text/event-stream", "Text/Event-Stream;charset=utf-8"] {
        assert!(is_event_stream(content_type));
        assert_eq!(usage(content_type, event), Some(3), "{content_type}");
    }
    assert_eq!(usage("text/plain", json), None);
}

/// vLLM reads the body whatever the header says, so with it a client could have the model that it names.
#[test]
fn a_content_encoding_does_not_switch_rules_for_models_off() {
    let rewrite = Rewrite { name: "rule".to_owned(), targets: vec![("tuned".to_owned(), 1)] };
    let rules = Rewrites::new([RewriteRule { models: None, rewrite }]);
    let ruled = Settings { rewrites: Some(Arc::new(rules)), ..settings() };
    let gzip = |path| Unread { encoding: Some("gzip"), ..unread(path, br#"{"model":"base","prompt":"a"}"#, None) };
    assert!(read(&settings(), gzip("/v1/completions")).unwrap().is_none());
    let refused = read(&ruled, gzip("/v1/completions")).unwrap_err();
    assert!(refused.to_string().contains("send it uncompressed"), "{refused}");
    assert!(read(&ruled, gzip("/metrics-of-something-else")).unwrap().is_none());
}
