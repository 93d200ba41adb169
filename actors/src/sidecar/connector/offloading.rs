//! `offloading`: vLLM's OffloadingConnector with a tier that peers read from. The prefill engine stores blocks under an id,
//! and the decode engine pulls them by it. Also the pull of a known prefix from another engine (`remote_kv_source`).

use super::KV_PARAMS;
use crate::sidecar::api::Api;
use crate::sidecar::fields::{Fields, quoted};
use crate::sidecar::target::Target;

/// Where engines serve their tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tier {
    /// The port of rank 0's tier.
    pub(crate) port: u16,
    /// The port of rank 0's requests.
    pub(crate) base: u16,
    /// Ranks of one pod; rank r has the ports `port + r` and `base + r`.
    pub(crate) ranks: u16,
}

/// The prefill leg.
pub(crate) fn prefill_body(fields: &Fields<'_>, api: Api, id: &str, pull: Option<&str>) -> String {
    let mut fields = fields.clone();
    api.cap_to_one_token(&mut fields);
    let pull = pull.map(|pull| format!(",{pull}")).unwrap_or_default();
    fields.set(KV_PARAMS, format!(r#"{{"remote_decoder":{{"kv_request_id":{}}}{pull}}}"#, quoted(id)));
    fields.text()
}

/// The decode leg, which pulls from the tier of `prefiller`.
pub(crate) fn decode_body(fields: &Fields<'_>, id: &str, prefiller: &Target, tier: Tier) -> String {
    let mut fields = fields.clone();
    fields.set(KV_PARAMS, format!(r#"{{"remote_prefiller":{}}}"#, source(id, prefiller, tier)));
    fields.text()
}

/// The member of the parameters that makes an engine pull a prefix from `from`.
pub(crate) fn pull(id: &str, from: &Target, tier: Tier) -> String {
    format!(r#""remote_kv_source":{}"#, source(id, from, tier))
}

fn source(id: &str, from: &Target, tier: Tier) -> String {
    let (id, host, port) = (quoted(id), quoted(&from.host), tier.port_of(from));
    format!(r#"{{"kv_request_id":{id},"remote_host":{host},"remote_port":{port}}}"#)
}

// === impl Tier ===

impl Tier {
    /// The tier's port of the rank that serves `target`; rank 0's where the port names no rank.
    fn port_of(self, target: &Target) -> u16 {
        let rank = target.port.checked_sub(self.base).filter(|rank| *rank < self.ranks).unwrap_or(0);
        self.port.saturating_add(rank)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TIER: Tier = Tier { port: 7777, base: 8000, ranks: 2 };

    #[test]
    fn the_legs_agree_on_an_id_and_the_decode_leg_pulls_from_the_rank_that_prefilled() {
        let fields = Fields::read(br#"{"prompt":"x","max_tokens":9}"#).unwrap();
        assert_eq!(
            prefill_body(&fields, Api::Completions, "id", None),
            r#"{"prompt":"x","max_tokens":1,"stream":false,"kv_transfer_params":{"remote_decoder":{"kv_request_id":"id"}}}"#
        );
        let target = Target::read("10.0.0.7:8001").unwrap();
        assert_eq!(
            decode_body(&fields, "id", &target, TIER),
            r#"{"prompt":"x","max_tokens":9,"kv_transfer_params":{"remote_prefiller":{"kv_request_id":"id","remote_host":"10.0.0.7","remote_port":7778}}}"#
        );
        let other = Target::read("10.0.0.7:9000").unwrap();
        assert!(decode_body(&fields, "id", &other, TIER).contains(r#""remote_port":7777"#));
    }

    #[test]
    fn a_pull_stands_beside_the_prefill_legs_own_parameters() {
        let fields = Fields::read(b"{}").unwrap();
        let pull = pull("other", &Target::read("p1:8000").unwrap(), TIER);
        let body = prefill_body(&fields, Api::Completions, "id", Some(&pull));
        let expected = r#""kv_transfer_params":{"remote_decoder":{"kv_request_id":"id"},"remote_kv_source":{"kv_request_id":"other","remote_host":"p1","remote_port":7777}}"#;
        assert!(body.contains(expected), "{body}");
    }
}
