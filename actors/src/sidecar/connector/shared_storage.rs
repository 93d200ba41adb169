//! `shared-storage`: the prefill engine writes blocks to a storage that the decode engine reads by their hashes. Nothing is
//! handed over. A request with `cache_hit_threshold` is tried at the decode engine first.

use serde_json::Value;

use crate::sidecar::api::Api;
use crate::sidecar::fields::Fields;

/// The field with the share of the prompt that an engine must hold.
const THRESHOLD: &str = "cache_hit_threshold";

/// Whether the decode engine is asked first.
pub(crate) fn asks_decode_first(fields: &Fields<'_>) -> bool {
    fields.has(THRESHOLD)
}

/// The prefill leg.
pub(crate) fn prefill_body(fields: &Fields<'_>, api: Api) -> String {
    let mut fields = fields.clone();
    api.cap_to_one_token(&mut fields);
    if fields.has(THRESHOLD) {
        fields.set(THRESHOLD, "0");
    }
    fields.text()
}

/// The decode leg after a prefill: it must not refuse again.
pub(crate) fn decode_body(fields: &Fields<'_>) -> String {
    let mut fields = fields.clone();
    if fields.has(THRESHOLD) {
        fields.set(THRESHOLD, "0");
    }
    fields.text()
}

/// Whether an answer, or the data of an event of one, says that the engine holds too little of the prompt.
pub(crate) fn is_below_threshold(answer: &[u8]) -> bool {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    answer["choices"][0]["finish_reason"] == "cache_threshold"
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_lifted_where_it_was_and_not_added() {
        let with = Fields::read(br#"{"prompt":"x","cache_hit_threshold":0.8}"#).unwrap();
        assert!(asks_decode_first(&with));
        assert_eq!(
            prefill_body(&with, Api::Completions),
            r#"{"prompt":"x","cache_hit_threshold":0,"max_tokens":1,"stream":false}"#
        );
        assert_eq!(decode_body(&with), r#"{"prompt":"x","cache_hit_threshold":0}"#);
        let without = Fields::read(br#"{"prompt":"x"}"#).unwrap();
        assert!(!asks_decode_first(&without));
        assert_eq!(decode_body(&without), r#"{"prompt":"x"}"#);
    }

    #[test]
    fn a_refusal_is_known_by_its_finish_reason() {
        assert!(is_below_threshold(br#"{"choices":[{"finish_reason":"cache_threshold"}]}"#));
        for other in [&br#"{"choices":[{"finish_reason":"stop"}]}"#[..], b"{}", b"", br#"{"choices":[]}"#] {
            assert!(!is_below_threshold(other));
        }
    }
}
