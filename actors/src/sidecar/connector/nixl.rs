//! `nixlv2`: the prefill engine answers with the blocks that it holds, and the decode engine pulls them.
//!
//! Fields as in llm-d's sidecar and in the recorded exchanges with vLLM's NixlConnector (`tests/fixtures/vllm/pd-nixl`).

use std::time::Duration;

use serde_json::{Map, Value};

use super::KV_PARAMS;
use crate::sidecar::api::Api;
use crate::sidecar::fields::Fields;

/// What the prefill engine is asked to keep.
const KEEP: &str = r#""do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,"remote_host":null,"remote_port":null"#;

/// What a prefill engine's answer says about the KV cache.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Prefilled {
    /// What the decode engine is told, or why it is told nothing.
    pub(crate) params: Result<String, NoHandOff>,
    /// The prompt tokens that the prefill engine had cached, if it said so.
    pub(crate) cached_tokens: Option<u64>,
    /// The engine's own id: another one is another process.
    pub(crate) engine_id: Option<String>,
    /// `system_fingerprint`, which begins with the version where the engine is vLLM.
    pub(crate) fingerprint: Option<String>,
}

/// Why a prefill's answer can't be handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoHandOff {
    /// The answer is no JSON object.
    NoAnswer,
    /// It has no parameters.
    Missing,
    /// They are not complete. vLLM's decode engine ends its process when it is given these.
    Incomplete,
    /// They are a producer's: they would make the decode engine keep blocks for nobody.
    Producers,
}

/// The prefill leg of a request. `pull` is a further member of the parameters, such as `"remote_kv_source":{...}`.
pub(crate) fn prefill_body(fields: &Fields<'_>, api: Api, pull: Option<&str>) -> String {
    let mut fields = fields.clone();
    api.cap_to_one_token(&mut fields);
    let pull = pull.map(|pull| format!(",{pull}")).unwrap_or_default();
    fields.set(KV_PARAMS, format!("{{{KEEP}{pull}}}"));
    fields.text()
}

/// The decode leg of a request; without `params` it is the request itself.
pub(crate) fn decode_body(fields: &Fields<'_>, params: Option<&str>) -> String {
    let mut fields = fields.clone();
    match params {
        Some(params) => fields.set(KV_PARAMS, params.to_owned()),
        None => drop(fields.remove(KV_PARAMS)),
    }
    fields.text()
}

/// Reads a prefill engine's answer.
pub(crate) fn read_answer(answer: &[u8]) -> Prefilled {
    let Ok(answer) = Fields::read(answer) else {
        return Prefilled { params: Err(NoHandOff::NoAnswer), cached_tokens: None, engine_id: None, fingerprint: None };
    };
    let usage: Value = answer.read_as("usage").unwrap_or_default();
    let cached_tokens = usage["prompt_tokens_details"]["cached_tokens"].as_u64();
    let params: Map<String, Value> = answer.read_as(KV_PARAMS).unwrap_or_default();
    let engine_id = params.get("remote_engine_id").and_then(Value::as_str).map(str::to_owned);
    let text = answer.raw(KV_PARAMS).unwrap_or_default();
    let params = check(&params).map(|()| text.to_owned());
    Prefilled { params, cached_tokens, engine_id, fingerprint: answer.read_as("system_fingerprint") }
}

// === impl Prefilled ===

impl Prefilled {
    /// What the decode engine is told, if anything, and a stable word for why. `other_version`: the prefill engine is a
    /// vLLM of another version; `late`: it may have freed the blocks.
    pub(crate) fn hand_off(self, other_version: bool, late: bool) -> (Option<String>, &'static str) {
        match self.params {
            Ok(_) if other_version => (None, "versions"),
            Ok(_) if late => (None, "stale"),
            Ok(params) => (Some(params), "ok"),
            Err(none) => (None, none.as_str()),
        }
    }
}

/// Whether a hand-off of this age comes too late, where `most` is allowed. Later blocks are others' and the text is
/// wrong.
pub(crate) fn is_late(age: Duration, most: Duration) -> bool {
    age > most
}

/// Whether a fingerprint, such as `vllm-0.32.0-cf9a390c`, is that of a vLLM of another version than `version`. How a
/// version was built (`+cpu`) does not count.
pub(crate) fn is_another_version(fingerprint: &str, version: &str) -> bool {
    let of = fingerprint.strip_prefix("vllm-").filter(|of| of.starts_with(|c: char| c.is_ascii_digit()));
    let number = |version: &str| version.split(['-', '+']).next().unwrap_or_default().to_owned();
    of.is_some_and(|of| number(of) != number(version))
}

/// Parameters that ask for a remote prefill must name it in full. Others are of an engine that has a form of its own,
/// and NixlConnector ignores them.
fn check(params: &Map<String, Value>) -> Result<(), NoHandOff> {
    if params.values().all(Value::is_null) {
        return Err(NoHandOff::Missing);
    }
    let value = |name: &str| params.get(name).unwrap_or(&Value::Null);
    if *value("do_remote_decode") == Value::Bool(true) {
        return Err(NoHandOff::Producers);
    }
    let named = |name: &str| value(name).as_str().is_some_and(|text| !text.is_empty());
    let complete = named("remote_engine_id")
        && named("remote_host")
        && value("remote_port").as_u64().is_some_and(|port| port > 0)
        && has_blocks(value("remote_block_ids"));
    let asks = !matches!(value("do_remote_prefill"), Value::Null | Value::Bool(false));
    if asks && !complete { Err(NoHandOff::Incomplete) } else { Ok(()) }
}

/// A list of blocks, or such a list for each group of the KV cache, some of which may be empty.
fn has_blocks(ids: &Value) -> bool {
    let Some(list) = ids.as_array().filter(|list| !list.is_empty()) else { return false };
    let all_numbers = |list: &[Value]| list.iter().all(Value::is_u64);
    let groups: Vec<&[Value]> = list.iter().filter_map(Value::as_array).map(Vec::as_slice).collect();
    match groups.len() {
        0 => all_numbers(list),
        count => {
            count == list.len() && groups.iter().all(|group| all_numbers(group)) && groups.iter().any(|g| !g.is_empty())
        }
    }
}

// === impl NoHandOff ===

impl NoHandOff {
    /// A stable word for metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NoAnswer => "no-answer",
            Self::Missing => "missing",
            Self::Incomplete => "incomplete",
            Self::Producers => "producers",
        }
    }
}

#[cfg(test)]
#[path = "nixl_tests.rs"]
mod tests;
