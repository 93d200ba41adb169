//! `kv_transfer_params` as vLLM's NixlConnector reads and writes them.
//!
//! Must not know blocks' contents. The fields follow recorded exchanges with vLLM 0.32.0
//! (`tests/fixtures/vllm/pd-nixl`).

use serde::Deserialize;
use serde_json::{Value, json};

/// What a request asks of the KV connector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum KvAsk {
    /// Nothing.
    #[default]
    Nothing,
    /// To keep the prompt's KV for another engine.
    Keep,
    /// To take the prompt's KV from another engine.
    Pull(Remote),
    /// To take KV from blocks that it does not name. A real engine ends its process.
    Fatal,
}

/// Where the KV of a prompt lies. A field that the request lacks is empty: nothing is found there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Remote {
    #[serde(rename = "remote_engine_id")]
    pub(super) engine: String,
    #[serde(rename = "remote_request_id")]
    pub(super) request: String,
    #[serde(rename = "remote_host")]
    pub(super) host: String,
    #[serde(rename = "remote_port")]
    pub(super) port: u16,
    /// For each group of layers, its blocks. The emulated engine has one group.
    #[serde(rename = "remote_block_ids")]
    pub(super) blocks: Vec<Vec<u32>>,
}

// === impl KvAsk ===

impl KvAsk {
    /// Reads the field `kv_transfer_params` of a request.
    pub(super) fn read(params: Option<&Value>) -> Self {
        let Some(params) = params else { return Self::Nothing };
        let asks = |name: &str| params[name] == Value::Bool(true);
        if asks("do_remote_prefill") {
            let named = params["remote_block_ids"].as_array().is_some_and(|groups| !groups.is_empty());
            if !named {
                return Self::Fatal;
            }
            return Self::Pull(Remote::deserialize(params).unwrap_or_default());
        }
        if asks("do_remote_decode") { Self::Keep } else { Self::Nothing }
    }
}

// === impl Remote ===

impl Remote {
    /// Its blocks, in the order of the prompt.
    pub(super) fn block_ids(&self) -> &[u32] {
        self.blocks.first().map(Vec::as_slice).unwrap_or_default()
    }

    /// The field `kv_transfer_params` of an answer that hands these blocks over.
    pub(super) fn answer(&self, prompt_tokens: usize, cached_tokens: usize) -> Value {
        json!({
            "do_remote_prefill": true,
            "do_remote_decode": false,
            "remote_block_ids": self.blocks,
            "remote_engine_id": self.engine,
            "remote_request_id": self.request,
            "remote_host": self.host,
            "remote_port": self.port,
            "tp_size": 1,
            "dcp_size": 1,
            "pp_size": 1,
            "remote_num_tokens": prompt_tokens,
            "remote_blocks_expiry_time": null,
            "transfer_mode": "pull",
            "remote_prefill_cached_tokens": cached_tokens,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_parameters_of_both_legs_are_read() {
        let exchange: Value =
            serde_json::from_str(include_str!("../../../../tests/fixtures/vllm/pd-nixl/exchange-chat.json")).unwrap();
        let read = |leg: &str| KvAsk::read(exchange[leg]["request"].get("kv_transfer_params"));
        assert_eq!(read("leg1"), KvAsk::Keep);
        let KvAsk::Pull(remote) = read("leg2") else { panic!("{:?}", read("leg2")) };
        assert_eq!((remote.block_ids(), remote.port), (&[13, 14, 15, 16, 17][..], 5600));
        assert_eq!(remote.answer(148, 0), exchange["leg1"]["response"]["kv_transfer_params"]);
    }

    #[test]
    fn blocks_that_are_not_named_are_fatal_and_other_gaps_lead_nowhere() {
        let read = |params: Value| KvAsk::read(Some(&params));
        assert_eq!(read(json!({ "do_remote_prefill": true, "remote_block_ids": null })), KvAsk::Fatal);
        assert_eq!(read(json!({ "do_remote_prefill": true, "remote_block_ids": [] })), KvAsk::Fatal);
        let KvAsk::Pull(remote) = read(json!({ "do_remote_prefill": true, "remote_block_ids": [[1]] })) else {
            panic!("blocks are named")
        };
        assert_eq!((remote.host.as_str(), remote.port), ("", 0));
        assert_eq!(read(json!({ "do_remote_prefill": false })), KvAsk::Nothing);
        assert_eq!(KvAsk::read(None), KvAsk::Nothing);
    }
}
