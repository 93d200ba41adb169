//! Request bodies: the result agrees with serde_json's tree, splicing a model changes nothing else, and the prompt's
//! hash does not depend on how the JSON is written. The last byte of the input chooses the API.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use murmuration::dialect::cursor::{Cursor, Token};
use murmuration::dialect::json_text::decoded;
use murmuration::dialect::openai::{Api, MODEL_BYTES_MAX, RequestBody, read_prompt};
use murmuration::prefix::BlockSpec;
use serde_json::Value;

const SPEC: BlockSpec = BlockSpec { block_tokens: 2, bytes_per_token: 4, blocks_max: 4096, tier_salt: 0 };
const APIS: [Api; 5] = [Api::Chat, Api::ChatBatch, Api::Completions, Api::Responses, Api::Other];

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((&choice, body)) = input.split_last() else { return Corpus::Reject };
    let api = APIS[usize::from(choice) % APIS.len()];
    let read = RequestBody::read(api, body);
    let tree: Option<Value> = serde_json::from_slice(body).ok().filter(Value::is_object);
    let read = match (read, &tree) {
        (Ok(read), _) => read,
        (Err(error), Some(tree)) => {
            assert!(is_refused(tree), "{error}: {tree}");
            return Corpus::Keep;
        }
        (Err(_), None) => return Corpus::Keep,
    };
    if let Some(tree) = &tree {
        agrees(&read, tree);
        let (span, new) = read.model_splice("tuned \"x\"");
        let mut spliced = body.to_vec();
        spliced.splice(span, new);
        let mut expected = tree.clone();
        expected["model"] = Value::from("tuned \"x\"");
        assert_eq!(serde_json::from_slice::<Value>(&spliced).ok(), Some(expected));
    }
    let prompt = |body: &[u8], read: &RequestBody| {
        let read = read_prompt(body, read, &read.model.name, SPEC);
        read.map(|(prompt, content)| (prompt.tokens, prompt.chain, content)).map_err(|error| error.to_string())
    };
    let again = respelled(body);
    let reread = RequestBody::read(api, again.as_bytes());
    match (prompt(body, &read), reread.as_ref().map(|reread| prompt(again.as_bytes(), reread))) {
        (Ok(one), Ok(Ok(two))) => assert_eq!(one, two, "{again}"),
        (Err(_), Ok(Err(_))) => {}
        // Written with escapes, a name may exceed the length limit.
        (_, Err(error)) => assert!(error.to_string().contains("name of"), "{error}: {again}"),
        (one, two) => panic!("{one:?} {two:?}: {again}"),
    }
    Corpus::Keep
});

/// Whether this tree may be refused: `model` or `cache_salt` is neither text nor null, or the model is too long.
fn is_refused(tree: &Value) -> bool {
    let is_text = |key: &str| tree.get(key).is_none_or(|value| value.is_string() || value.is_null());
    let length = tree.get("model").and_then(Value::as_str).map_or(0, str::len);
    // A name written with escapes may be refused for the length of its written form.
    !is_text("model") || !is_text("cache_salt") || length > MODEL_BYTES_MAX
}

fn agrees(read: &RequestBody, tree: &Value) {
    assert_eq!(read.model.name, tree.get("model").and_then(Value::as_str).unwrap_or_default());
    assert_eq!(read.stream, tree.get("stream") == Some(&Value::Bool(true)));
    assert_eq!(read.cache_salt.as_deref(), tree.get("cache_salt").and_then(Value::as_str));
}

/// The same body with other whitespace, and each character of its strings escaped.
fn respelled(body: &[u8]) -> String {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut out = String::new();
    let mut fresh = true;
    let quoted = |raw: &[u8]| {
        if raw.windows(2).any(|pair| pair == br"\u") {
            // A lone surrogate can't be written otherwise in a `String`.
            return format!("\"{}\"", String::from_utf8_lossy(raw));
        }
        let units: String = decoded(raw).encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        format!("\"{units}\"")
    };
    let walked = Cursor::new(body).walk(|token| {
        if !fresh && !matches!(token, Token::Close(_)) {
            out.push_str(" ,\n");
        }
        fresh = matches!(token, Token::Open(_) | Token::Key(_));
        match token {
            Token::Open(bracket) | Token::Close(bracket) => out.push(char::from(bracket)),
            Token::Key(raw) => out += &(quoted(raw) + "\t: "),
            Token::String(raw) => out += &quoted(raw),
            Token::Scalar(raw) => out += &String::from_utf8_lossy(raw),
        }
    });
    assert!(walked.is_ok(), "a body that was read can be walked again");
    out
}
