//! The legs of `nixlv2` against exchanges that were recorded with a real vLLM, and answers that must not be handed over.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

/// A recorded exchange: the client's request, and what each leg was asked and answered.
struct Recorded {
    leg1: Value,
    answer: Value,
    leg2: Value,
}

fn recorded(name: &str) -> Recorded {
    let path = format!("{}/../tests/fixtures/vllm/pd-nixl/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let exchange: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let [leg1, answer, leg2] =
        [["leg1", "request"], ["leg1", "response"], ["leg2", "request"]].map(|[leg, part]| exchange[leg][part].clone());
    Recorded { leg1, answer, leg2 }
}

/// The client's request: the second leg without its parameters.
fn client(recorded: &Recorded) -> String {
    let mut request = recorded.leg2.clone();
    request.as_object_mut().unwrap().remove(KV_PARAMS);
    request.to_string()
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn both_legs_are_those_that_a_real_vllm_served() {
    let exchanges = [
        ("exchange-chat", Api::ChatCompletions),
        ("exchange-completions", Api::Completions),
        ("exchange-push-1", Api::Completions),
        ("exchange-multi-1", Api::Completions),
    ];
    for (name, api) in exchanges {
        let recorded = recorded(name);
        let client = client(&recorded);
        let fields = Fields::read(client.as_bytes()).unwrap();
        let mut leg1 = value(&prefill_body(&fields, api, None));
        // Both caps are set for chat: engines prefer the newer one. The recording has the older one alone.
        if api == Api::ChatCompletions {
            assert_eq!(leg1.as_object_mut().unwrap().remove("max_completion_tokens"), Some(Value::from(1)));
        }
        assert_eq!(leg1, recorded.leg1, "{name}");
        let prefilled = read_answer(recorded.answer.to_string().as_bytes());
        assert_eq!(prefilled.engine_id.as_deref(), recorded.answer[KV_PARAMS]["remote_engine_id"].as_str());
        let params = prefilled.params.unwrap();
        assert_eq!(value(&decode_body(&fields, Some(&params))), recorded.leg2, "{name}");
    }
}

#[test]
fn parameters_are_handed_over_byte_by_byte() {
    let params = r#"{"do_remote_prefill": true, "remote_block_ids":[[1],[]],"remote_engine_id":"e",  "remote_host":"h","remote_port":1,"new": 1.0e0}"#;
    let answer = format!(r#"{{"id":"x","kv_transfer_params": {params} }}"#);
    assert_eq!(read_answer(answer.as_bytes()).params.unwrap(), params);
    let fields = Fields::read(br#"{"prompt":"x"}"#).unwrap();
    assert_eq!(decode_body(&fields, Some(params)), format!(r#"{{"prompt":"x","kv_transfer_params":{params}}}"#));
}

#[test]
fn incomplete_parameters_that_end_a_decode_server_are_never_handed_over() {
    let whole = recorded("exchange-chat").answer[KV_PARAMS].clone();
    let cases = [
        ("remote_block_ids", Value::Null),
        ("remote_block_ids", value("[]")),
        ("remote_block_ids", value("[[]]")),
        ("remote_block_ids", value("[[],[]]")),
        ("remote_block_ids", value("[[1],2]")),
        ("remote_block_ids", value(r#"[["1"]]"#)),
        ("remote_engine_id", Value::Null),
        ("remote_engine_id", value(r#""""#)),
        ("remote_host", Value::Null),
        ("remote_port", Value::Null),
        ("remote_port", value("0")),
        ("remote_port", value(r#""5600""#)),
    ];
    for (field, wrong) in cases {
        let mut params = whole.clone();
        params[field] = wrong.clone();
        let answer = serde_json::json!({ KV_PARAMS: params }).to_string();
        assert_eq!(read_answer(answer.as_bytes()).params, Err(NoHandOff::Incomplete), "{field}: {wrong}");
        params.as_object_mut().unwrap().remove(field);
        let answer = serde_json::json!({ KV_PARAMS: params }).to_string();
        assert_eq!(read_answer(answer.as_bytes()).params, Err(NoHandOff::Incomplete), "without {field}");
    }
}

#[test]
fn missing_parameters_and_foreign_answers_are_told_apart() {
    for (answer, expected) in [
        ("", Err(NoHandOff::NoAnswer)),
        ("[]", Err(NoHandOff::NoAnswer)),
        ("data: {}\n\n", Err(NoHandOff::NoAnswer)),
        ("{}", Err(NoHandOff::Missing)),
        (r#"{"kv_transfer_params":null}"#, Err(NoHandOff::Missing)),
        (r#"{"kv_transfer_params":{}}"#, Err(NoHandOff::Missing)),
        (r#"{"kv_transfer_params":7}"#, Err(NoHandOff::Missing)),
        (r#"{"kv_transfer_params":{"remote_host":null}}"#, Err(NoHandOff::Missing)),
        (r#"{"kv_transfer_params":{"do_remote_decode":true}}"#, Err(NoHandOff::Producers)),
        (r#"{"kv_transfer_params":{"do_remote_prefill":true}}"#, Err(NoHandOff::Incomplete)),
        (r#"{"kv_transfer_params":{"do_remote_prefill":1}}"#, Err(NoHandOff::Incomplete)),
        // Engines with a form of their own, such as those on TPU.
        (r#"{"kv_transfer_params":{"uuid":7}}"#, Ok(r#"{"uuid":7}"#.to_owned())),
    ] {
        assert_eq!(read_answer(answer.as_bytes()).params, expected, "{answer}");
    }
}

#[test]
fn the_prefill_engines_cached_tokens_are_read() {
    let answer = r#"{"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":5}}}"#;
    assert_eq!(read_answer(answer.as_bytes()).cached_tokens, Some(5));
    assert_eq!(read_answer(br#"{"usage":{"prompt_tokens_details":null}}"#).cached_tokens, None);
}

#[test]
fn versions_are_compared_where_the_fingerprint_has_one() {
    let recorded = read_answer(recorded("exchange-chat").answer.to_string().as_bytes());
    let fingerprint = recorded.fingerprint.unwrap();
    assert!(!is_another_version(&fingerprint, "0.32.0"), "{fingerprint}");
    for other in ["0.32", "0.32.1", "0.33.0", "0.3"] {
        assert!(is_another_version(&fingerprint, other), "{other}");
    }
    assert!(!is_another_version("vllm-0.32.0+cpu-cf9a", "0.32.0+cuda"));
    for foreign in ["fp_44709d6fcb", "vllm-custom", ""] {
        assert!(!is_another_version(foreign, "0.32.0"), "{foreign}");
    }
}

#[test]
fn a_pull_from_another_engine_is_a_further_member() {
    let fields = Fields::read(br#"{"prompt":"x"}"#).unwrap();
    let body = value(&prefill_body(&fields, Api::Completions, Some(r#""remote_kv_source":{"a":1}"#)));
    assert_eq!(body[KV_PARAMS]["remote_kv_source"]["a"], 1);
    assert_eq!(body[KV_PARAMS]["do_remote_decode"], true);
}
