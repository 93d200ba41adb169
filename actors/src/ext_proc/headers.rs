//! The headers of one request or response, as received: nothing is merged, nothing is written back.
//!
//! Must not know what a header means to a decision. It knows which ones a client must not set.

use murmuration_proto::ext_proc::{HeaderValue, HttpHeaders};
use murmuration_proto::names;

/// Headers in the order received, duplicates included.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Head {
    headers: Vec<HeaderValue>,
}

// === impl Head ===

impl Head {
    /// The headers of a message; their values are moved.
    pub fn new(message: HttpHeaders) -> Self {
        Self { headers: message.headers.map(|map| map.headers).unwrap_or_default() }
    }

    /// The first value of `name` (any case) that is valid UTF-8, empty ones included.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values(name).find_map(|value| std::str::from_utf8(value).ok())
    }

    /// The first non-empty value under the first of `names` that has one.
    pub fn first_of(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.get(name).filter(|value| !value.is_empty()))
    }

    /// Every value of `name`, in the order received.
    pub fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |header| header.key.eq_ignore_ascii_case(name)).map(value)
    }

    /// The control headers that are present and must not reach the engine, each once. The destination is not among
    /// them: it is overwritten, and a proxy that removed headers after setting them would lose it.
    pub fn control_headers(&self) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for header in &self.headers {
            let key = header.key.as_str();
            if is_control(key) && !found.iter().any(|seen| seen.eq_ignore_ascii_case(key)) {
                found.push(key.to_owned());
            }
        }
        found
    }
}

/// The value of a header; Envoy fills `raw_value`, older data planes `value`.
pub fn value(header: &HeaderValue) -> &[u8] {
    if header.raw_value.is_empty() { header.value.as_bytes() } else { &header.raw_value }
}

/// Whether only gateways and pickers may set it: headers that the picker reads and must not leak, and those that steer
/// a sidecar.
fn is_control(name: &str) -> bool {
    let single = [
        names::DESTINATION_SERVED,
        names::DESTINATION_SCORES,
        names::SUBSET,
        names::DROPPED_REASON,
        names::ENCODERS,
        names::DATA_PARALLEL,
        names::KV_SOURCE,
    ];
    let spelled: [&[&str]; 7] = [
        &names::FAIRNESS_ID,
        &names::OBJECTIVE,
        &names::MODEL_REWRITE,
        &names::SLO_TTFT_MS,
        &names::SLO_TPOT_MS,
        &names::VIDEO,
        &names::PREFILLER,
    ];
    let is = |known: &&str| name.eq_ignore_ascii_case(known);
    single.iter().any(is) || spelled.iter().copied().flatten().any(is)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use murmuration_proto::ext_proc::HeaderMap;

    use super::*;

    fn head(pairs: &[(&str, &[u8])]) -> Head {
        let headers = pairs
            .iter()
            .map(|(key, value)| HeaderValue { key: (*key).into(), raw_value: value.to_vec(), ..Default::default() })
            .collect();
        Head::new(HttpHeaders { headers: Some(HeaderMap { headers }), ..Default::default() })
    }

    #[test]
    fn duplicates_are_kept_in_order_and_the_first_one_counts() {
        let head = head(&[("Accept", b"a"), ("x", b"1"), ("accept", b"b")]);
        assert_eq!(head.values("accept").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(head.get("ACCEPT"), Some("a"));
    }

    #[test]
    fn the_first_name_with_a_value_counts() {
        let both = head(&[("x-gateway-inference-objective", b"old"), ("x-llm-d-inference-objective", b"new")]);
        assert_eq!(both.first_of(&names::OBJECTIVE), Some("new"));
        let empty = head(&[("x-gateway-inference-objective", b"old"), ("x-llm-d-inference-objective", b"")]);
        assert_eq!(empty.first_of(&names::OBJECTIVE), Some("old"));
    }

    #[test]
    fn bytes_that_are_no_text_are_no_value_and_plain_values_are_read_too() {
        assert_eq!(head(&[("x-request-id", b"\xff")]).get(names::REQUEST_ID), None);
        let plain = HeaderValue { key: ":path".into(), value: "/v1/models".into(), ..Default::default() };
        assert_eq!(Head { headers: vec![plain] }.get(":path"), Some("/v1/models"));
    }

    #[test]
    fn a_message_without_a_map_has_no_headers() {
        assert_eq!(Head::new(HttpHeaders::default()), Head::default());
    }

    #[test]
    fn control_headers_are_found_in_any_case_and_named_once() {
        let head = head(&[
            ("X-Prefiller-Host-Port", b"evil:1"),
            ("x-prefiller-host-port", b"evil:2"),
            ("x-slo-ttft-ms", b"1"),
            ("authorization", b"kept"),
            ("x-gateway-destination-endpoint", b"overwritten"),
        ]);
        assert_eq!(head.control_headers(), ["X-Prefiller-Host-Port", "x-slo-ttft-ms"]);
    }
}
