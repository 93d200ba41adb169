//! `mooncake`: both legs run at once under one transfer id; the decode engine waits for the prefill engine's blocks.
//!
//! Fields as in llm-d's sidecar and in the recorded exchanges with vLLM's MooncakeConnector
//! (`tests/fixtures/vllm/pd-mooncake`).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::KV_PARAMS;
use crate::sidecar::api::Api;
use crate::sidecar::fields::{Fields, quoted};

/// One engine of a prefill server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Engine {
    /// Its data-parallel rank.
    pub(crate) rank: String,
    /// Its id.
    pub(crate) id: String,
}

#[derive(Deserialize)]
struct Registered {
    #[serde(default)]
    engine_id: Option<String>,
}

/// The engines that a bootstrap server lists, by rank.
pub(crate) fn read_engines(answer: &[u8]) -> Vec<Engine> {
    let by_rank: BTreeMap<String, Registered> = serde_json::from_slice(answer).unwrap_or_default();
    let named = |(rank, registered): (String, Registered)| {
        let id = registered.engine_id.filter(|id| !id.is_empty())?;
        rank.parse::<u32>().is_ok().then_some(Engine { rank, id })
    };
    by_rank.into_iter().filter_map(named).collect()
}

/// The prefill leg.
pub(crate) fn prefill_body(fields: &Fields<'_>, api: Api, transfer: &str) -> String {
    let mut fields = fields.clone();
    api.cap_to_one_token(&mut fields);
    let transfer = quoted(transfer);
    fields.set(KV_PARAMS, format!(r#"{{"do_remote_decode":true,"do_remote_prefill":false,"transfer_id":{transfer}}}"#));
    fields.text()
}

/// The decode leg, which pulls from `engine`, found by the bootstrap server at `bootstrap` (a URL).
pub(crate) fn decode_body(fields: &Fields<'_>, transfer: &str, bootstrap: &str, engine: &Engine) -> String {
    let mut fields = fields.clone();
    let (transfer, bootstrap, engine) = (quoted(transfer), quoted(bootstrap), quoted(&engine.id));
    fields.set(
        KV_PARAMS,
        format!(
            r#"{{"do_remote_decode":false,"do_remote_prefill":true,"remote_bootstrap_addr":{bootstrap},"remote_engine_id":{engine},"transfer_id":{transfer}}}"#
        ),
    );
    fields.text()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn fixture(name: &str) -> Value {
        let path = format!("{}/../tests/fixtures/vllm/pd-mooncake/{name}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    #[test]
    fn both_legs_are_those_that_a_real_vllm_served() {
        let exchange = fixture("exchange-0");
        let engines = read_engines(fixture("bootstrap-query").to_string().as_bytes());
        let [leg1, leg2] = ["leg1", "leg2"].map(|leg| exchange[leg].clone());
        let mut client = leg2.clone();
        client.as_object_mut().unwrap().remove(KV_PARAMS);
        let client = client.to_string();
        let fields = Fields::read(client.as_bytes()).unwrap();
        let transfer = leg2[KV_PARAMS]["transfer_id"].as_str().unwrap();
        let read = |text: String| serde_json::from_str::<Value>(&text).unwrap();
        let mut prefill = read(prefill_body(&fields, Api::Completions, transfer));
        prefill.as_object_mut().unwrap().remove("stream");
        assert_eq!(prefill, leg1);
        let bootstrap = leg2[KV_PARAMS]["remote_bootstrap_addr"].as_str().unwrap();
        assert_eq!(engines.len(), 1);
        assert_eq!(read(decode_body(&fields, transfer, bootstrap, &engines[0])), leg2);
    }

    #[test]
    fn a_list_without_an_engine_has_none() {
        for answer in ["", "[]", "{}", r#"{"0":{}}"#, r#"{"0":{"engine_id":""}}"#, r#"{"x":{"engine_id":"e"}}"#] {
            assert_eq!(read_engines(answer.as_bytes()), [], "{answer}");
        }
        let two = read_engines(br#"{"1":{"engine_id":"b"},"0":{"engine_id":"a","worker_addr":{}}}"#);
        assert_eq!(two.iter().map(|engine| engine.rank.as_str()).collect::<Vec<_>>(), ["0", "1"]);
    }
}
