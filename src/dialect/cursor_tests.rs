//! Tests of the cursor: it accepts all JSON and what Python adds to it, and nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::dialect::json_text::decoded;

fn skipped(text: &[u8]) -> Result<Range<usize>, Misread> {
    let mut cursor = Cursor::new(text);
    let span = cursor.skip()?;
    cursor.end()?;
    Ok(span)
}

/// A value of every kind, nested.
pub(in crate::dialect) fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        Just(json!("\u{1}\"\\\n\u{1F600}")),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("\\PC{0,6}", inner), 0..5)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

#[test]
fn what_python_adds_to_json_is_accepted() {
    for text in [r#"{"a":NaN,"b":[Infinity,-Infinity]}"#, r#""\ud800""#, r#"{"a":1,"a":2}"#, "1E+9", " [ ] ", "-0.0e0"]
    {
        assert_eq!(skipped(text.as_bytes()).map(|span| span.end), Ok(text.trim_end().len()), "{text}");
    }
}

#[test]
fn invalid_json_is_reported_with_its_position() {
    let cases = [
        ("", "EOF while parsing at byte 0"),
        ("{", "EOF while parsing at byte 1"),
        ("[1,]", "a comma before the end at byte 3"),
        ("[1 2]", "expected `,` or the end at byte 3"),
        ("{\"a\" 1}", "expected `:` at byte 5"),
        ("{a:1}", "expected a key at byte 1"),
        ("{,}", "expected a key at byte 1"),
        ("[,1]", "expected a value at byte 1"),
        ("\"\\x\"", "an escape that JSON does not know at byte 2"),
        ("\"\\u12g4\"", "an escape that JSON does not know at byte 2"),
        ("\"abc", "EOF while parsing at byte 4"),
        ("1 2", "something follows the value at byte 2"),
        ("nul", "expected a value at byte 0"),
        ("01", "expected a value at byte 0"),
        ("1.2.3", "expected a value at byte 3"),
        ("truefalse", "expected a value at byte 4"),
        ("[1}", "expected `,` or the end at byte 2"),
    ];
    for (text, expected) in cases {
        assert_eq!(skipped(text.as_bytes()).unwrap_err().to_string(), expected, "{text}");
    }
}

#[test]
fn nesting_is_bounded_and_not_by_the_stack() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(skipped(nested(DEPTH_MAX).as_bytes()).is_ok());
    assert_eq!(skipped(nested(DEPTH_MAX + 1).as_bytes()).unwrap_err().what, "nested too deep");
    assert!(skipped("[{\"a\":".repeat(1_000_000).as_bytes()).is_err());
}

proptest! {
    #[test]
    fn all_json_is_walked_to_its_end(value in any_value(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
        let mut strings = Vec::new();
        let mut depth = 0i32;
        let span = Cursor::new(text.as_bytes()).walk(|token| match token {
            Token::Key(raw) | Token::String(raw) => strings.push(decoded(raw).into_owned()),
            Token::Open(_) => depth += 1,
            Token::Close(_) => depth -= 1,
            Token::Scalar(_) => {}
        });
        prop_assert_eq!((span, depth), (Ok(0..text.len()), 0));
        let quoted: Vec<String> = strings.iter().map(|text| Value::from(text.as_str()).to_string()).collect();
        prop_assert!(quoted.iter().all(|quoted| text.contains(quoted.as_str())));
    }

    #[test]
    fn what_serde_json_accepts_is_accepted(text in "[\\[\\]{}\",:0-9a-z\\\\ .eE+-]{0,16}") {
        if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() {
            prop_assert!(skipped(text.as_bytes()).is_ok(), "{}", text);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = skipped(&bytes);
    }
}
