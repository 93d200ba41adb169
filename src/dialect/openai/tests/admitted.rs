//! Each body that vLLM's OpenAPI description admits is accepted, hashed and rewritten, on each of its paths.

use super::*;

/// The request schemas of vLLM 0.32's `openapi.json`, of those paths that take a `model`; of nested objects only what
/// is required.
const OPENAPI: &str = include_str!("../../../../tests/fixtures/vllm/openapi-requests.json");

/// A value that `schema` admits: of alternatives the one of this number, of strings a long one that holds `mark`.
fn sample(all: &Value, schema: &Value, mark: &str, which: usize, depth: u32, more: &dyn Fn(&str) -> bool) -> Value {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        return sample(all, &all["schemas"][name], mark, which, depth + 1, more);
    }
    if let Some(value) = schema.get("const") {
        return value.clone();
    }
    if let Some(value) = schema["enum"].as_array() {
        return value[which % value.len()].clone();
    }
    for alternatives in ["anyOf", "oneOf", "allOf"] {
        if let Some(list) = schema[alternatives].as_array() {
            return sample(all, &list[which % list.len()], mark, which, depth + 1, more);
        }
    }
    let inner = |schema: &Value| sample(all, schema, mark, which, depth + 1, more);
    match schema["type"].as_str() {
        Some("string") => json!(format!("{mark} is a text of some length, enough for blocks")),
        Some("integer" | "number") => json!(mark.len()),
        Some("boolean") => json!(false),
        Some("array") if depth < 12 => json!([inner(&schema["items"])]),
        Some("array") => json!([]),
        Some("object") => {
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            let properties = schema["properties"].as_object().cloned().unwrap_or_default();
            // Only the request itself lists what it does not require.
            let wanted =
                properties.iter().filter(|(name, _)| required.contains(&json!(name)) || depth <= 2 && more(name));
            Value::Object(wanted.map(|(name, schema)| (name.clone(), inner(schema))).collect())
        }
        Some("null") => Value::Null,
        _ => json!({"of": mark}),
    }
}

#[test]
#[allow(clippy::panic)]
fn each_path_of_vllms_openapi_that_takes_a_model_is_routed_hashed_and_rewritten() {
    let all: Value = serde_json::from_str(OPENAPI).unwrap();
    let mut walked = Vec::new();
    for (path, schema) in all["paths"].as_object().unwrap() {
        for which in 0..24 {
            let prompts = |name: &str| name == "prompt" || name == "prompt_embeds";
            let body = |mark: &str| {
                let mut body = sample(&all, schema, mark, which, 0, &prompts);
                body["model"] = json!("base");
                body
            };
            let api = Api::of_path(path).unwrap_or_else(|| panic!("{path} is not known"));
            let full = sample(&all, schema, "full", which, 0, &|name| name != "model").to_string();
            super::read(api, &full).unwrap_or_else(|error| panic!("{path}: {error}\n{full}"));
            let (one, two) = (body("first").to_string(), body("other").to_string());
            let read = super::read(api, &one).unwrap_or_else(|error| panic!("{path}: {error}\n{one}"));
            assert_eq!(read.model.name, "base");
            let again: Value = serde_json::from_str(&spliced(&one, "tuned")).unwrap();
            let mut expected = body("first");
            expected["model"] = json!("tuned");
            assert_eq!(again, expected, "{path}");
            if one.contains("first") {
                let (one, two) = (prompt_of(api, &one), prompt_of(api, &two));
                assert_ne!(one.1, two.1, "{path} {which}");
                assert!(one.0.tokens > 0, "{path} {which}");
            }
            for model in ["null", "\"\""] {
                super::read(api, &one_with(&body("first"), model)).unwrap();
            }
        }
        walked.push(path.as_str());
    }
    assert_eq!(walked.len(), 10, "{walked:?}");
}

fn one_with(body: &Value, model: &str) -> String {
    let mut body = body.clone();
    body["model"] = serde_json::from_str(model).unwrap();
    body.to_string()
}

#[test]
fn valid_bodies_that_were_refused_are_read() {
    let chats = [
        r#"{"model":"m","messages":[{"role":"user","content":["look",{"type":"image_url","image_url":{"url":"x"}}]}]}"#,
        r#"{"model":"m","messages":[{"role":"user","content":"a"}],"temperature":NaN,"top_p":Infinity,"x":-Infinity}"#,
        "\u{feff}{\"model\":\"m\",\"messages\":[]}",
        r#"{"model":"m","messages":[{"role":"user","content":"\ud800"}]}"#,
        r#"{"model":"m","messages":[],"prompt":7,"input":{"a":1}}"#,
    ];
    for body in chats {
        chat(body).unwrap_or_else(|error| panic!("{body}: {error}"));
    }
    let completions = [
        r#"{"model":"m","prompt_embeds":"AAAA"}"#,
        r#"{"model":"m","prompt":null,"prompt_embeds":["AAAA"]}"#,
        r#"{"model":"m"}"#,
        r#"{"model":"m","prompt":[]}"#,
        r#"{"model":"m","prompt":["a",[1]],"messages":7}"#,
        r#"{"model":"m","prompt":[1.0,2]}"#,
    ];
    for body in completions {
        completion(body).unwrap_or_else(|error| panic!("{body}: {error}"));
    }
}

#[test]
fn embeddings_as_prompts_are_distinguished() {
    let embeds = |data: &str| format!(r#"{{"model":"m","prompt_embeds":"{data}"}}"#);
    assert_eq!(shared(Api::Completions, &embeds("AAAA"), &embeds("AAAB")).0, 0);
}

#[test]
fn a_body_that_is_no_text_says_what_it_looks_like() {
    let error = |body: &[u8]| RequestBody::read(Api::Chat, body).unwrap_err();
    assert!(error(b"\x1f\x8b\x08\0").to_string().contains("gzip"));
    assert!(error(b"\xff\xfe{\0").to_string().contains("UTF-16"));
    assert!(error(b"\x1f\x8b\x08\0").is_no_json() && error(b"{").is_no_json() && error(b"[]").is_no_json());
    assert!(!error(br#"{"model":7}"#).is_no_json());
}
