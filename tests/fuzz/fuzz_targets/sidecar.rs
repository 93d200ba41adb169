//! What a sidecar reads: bodies of clients, answers of prefill and decode engines, and headers. Nothing that only a
//! sidecar may set passes, hand-offs are complete, and answers do not depend on how they are cut. The first byte of the
//! input says which is read, the second one how.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use murmuration_actors::sidecar::{Target, parsers};
use serde_json::{Map, Value};

const PATHS: [&str; 7] = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/inference/v1/generate",
    "/generate",
    "/invocations",
];
const OWNED: [&str; 5] =
    ["kv_transfer_params", "ec_transfer_params", "bootstrap_host", "bootstrap_port", "bootstrap_room"];
/// Objects in which the same names count.
const NESTED: [&str; 3] = ["vllm_xargs", "sampling_params", "extra_args"];

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((head, rest)) = input.split_first_chunk::<2>() else { return Corpus::Reject };
    match head[0] % 4 {
        0 => request(PATHS[usize::from(head[1]) % PATHS.len()], rest),
        1 => prefill_answer(rest),
        2 => decode_answer(head[1], rest),
        _ => header(rest),
    }
    Corpus::Keep
});

fn request(path: &str, body: &[u8]) {
    let Some(Ok(legs)) = parsers::legs(path, body, r#"{"told":true}"#) else { return };
    // What an independent reader makes of it; it refuses numbers and depths that are passed on.
    let Ok(Value::Object(given)) = serde_json::from_slice::<Value>(body) else { return };
    let whole = object(&legs.whole);
    for name in OWNED {
        assert!(!whole.contains_key(name), "{name} in {whole:?}");
        for outer in ["vllm_xargs", "extra_args"] {
            assert!(whole.get(outer).is_none_or(|object| object.get(name).is_none()), "{outer}.{name}");
        }
        let extra = whole.get("sampling_params").and_then(|sampling| sampling.get("extra_args"));
        assert!(extra.is_none_or(|extra| extra.get(name).is_none()), "sampling_params.extra_args.{name}");
    }
    let others = |fields: &Map<String, Value>| {
        let mut fields = fields.clone();
        fields.retain(|name, _| !OWNED.contains(&name.as_str()) && !NESTED.contains(&name.as_str()));
        fields
    };
    assert_eq!(others(&whole), others(&given), "all other fields are the client's");
    let prefill = object(&legs.prefill);
    assert_eq!(prefill["kv_transfer_params"]["do_remote_decode"], true);
    assert_eq!(prefill["stream"], false);
    let mut decode = object(&legs.decode);
    assert_eq!(decode.remove("kv_transfer_params").map(|told| told["told"].clone()), Some(true.into()));
    assert_eq!(decode, whole);
}

fn prefill_answer(answer: &[u8]) {
    let Ok(params) = parsers::handoff(answer) else { return };
    let Ok(params) = serde_json::from_str::<Value>(&params) else { panic!("no JSON: {params}") };
    assert_ne!(params["do_remote_decode"], true, "a decode engine would keep blocks for nobody");
    if matches!(params["do_remote_prefill"], Value::Null | Value::Bool(false)) {
        return;
    }
    // With less than this a decode engine's process ends.
    let named = |name: &str| params[name].as_str().is_some_and(|text| !text.is_empty());
    assert!(named("remote_engine_id") && named("remote_host"), "{params}");
    assert!(params["remote_port"].as_u64().is_some_and(|port| port > 0), "{params}");
    assert!(params["remote_block_ids"].as_array().is_some_and(|ids| !ids.is_empty()), "{params}");
}

fn decode_answer(how: u8, answer: &[u8]) {
    let (cached, is_stream) = ((how & 2 == 0).then_some(u64::from(how)), how & 1 == 0);
    let whole = parsers::passed_on(cached, is_stream, &[answer]);
    let size = usize::from(how >> 2) + 1;
    let pieces: Vec<&[u8]> = answer.chunks(size).collect();
    assert_eq!(parsers::passed_on(cached, is_stream, &pieces), whole);
    if !answer.windows(7).any(|window| window == b"\"usage\"") && !answer.contains(&b'\\') {
        assert_eq!(whole, answer, "nothing else is changed");
    }
}

fn header(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Ok(targets) = parsers::targets(text) else { return };
    for target in targets {
        assert_eq!(Target::read(&target.to_string()).as_ref(), Ok(&target), "a target reads back to itself");
    }
}

fn object(text: &str) -> Map<String, Value> {
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => fields,
        other => panic!("{text:?} is no object: {other:?}"),
    }
}
