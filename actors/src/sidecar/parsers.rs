//! What of a sidecar reads bytes of the network, as functions of these bytes alone: for tests that know no sockets, such
//! as `tests/fuzz`.

use bytes::Bytes;

use super::api::Api;
use super::cached_tokens::CachedTokens;
use super::connector::nixl;
use super::fields::Fields;
use super::owned::remove_owned;
use super::target::{Target, read_list};

/// The bodies that a request's legs carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Legs {
    /// The request, without what only a sidecar may set.
    pub whole: String,
    /// What the prefill engine is asked with `nixlv2`.
    pub prefill: String,
    /// What the decode engine is told then, with the hand-off that was given.
    pub decode: String,
}

/// The legs of a request to `path`, whose prefill engine answers with `handoff`; `None` for a path that is not checked.
///
/// # Errors
/// The sentence that the client gets.
pub fn legs(path: &str, body: &[u8], handoff: &str) -> Option<Result<Legs, String>> {
    let api = Api::of(path)?;
    let read = || {
        let mut fields = Fields::read(body)?;
        remove_owned(&mut fields)?;
        let prefill = nixl::prefill_body(&fields, api, None);
        Ok(Legs { whole: fields.text(), prefill, decode: nixl::decode_body(&fields, Some(handoff)) })
    };
    Some(read())
}

/// The `kv_transfer_params` of a prefill engine's answer that a decode engine may be told.
///
/// # Errors
/// The label of the reason why it is told nothing.
pub fn handoff(answer: &[u8]) -> Result<String, &'static str> {
    nixl::read_answer(answer).params.map_err(nixl::NoHandOff::as_str)
}

/// A decode engine's answer as its client gets it, after the prefill engine said `cached`. `pieces` are what arrives.
pub fn passed_on(cached: Option<u64>, is_stream: bool, pieces: &[&[u8]]) -> Vec<u8> {
    let mut rewriter = CachedTokens::new(cached, is_stream);
    let mut passed = Vec::new();
    for piece in pieces {
        passed.extend_from_slice(&rewriter.push(Bytes::copy_from_slice(piece)));
    }
    passed.extend_from_slice(&rewriter.finish());
    passed
}

/// The targets that a header names.
///
/// # Errors
/// The sentence that the client gets.
pub fn targets(header: &str) -> Result<Vec<Target>, String> {
    read_list(std::iter::once(header))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn legs_are_those_of_a_checked_request() {
        let body = br#"{"prompt":"x","max_tokens":9,"kv_transfer_params":{"do_remote_prefill":true}}"#;
        let made = legs("/v1/completions", body, r#"{"a":1}"#).unwrap().unwrap();
        assert_eq!(made.whole, r#"{"prompt":"x","max_tokens":9}"#);
        assert!(made.prefill.contains(r#""max_tokens":1,"#) && made.prefill.contains(r#""do_remote_decode":true"#));
        assert_eq!(made.decode, r#"{"prompt":"x","max_tokens":9,"kv_transfer_params":{"a":1}}"#);
        assert_eq!(legs("/tokenize", body, "{}"), None);
        assert!(legs("/v1/completions", b"[]", "{}").unwrap().is_err());
    }

    #[test]
    fn answers_and_headers_are_read_as_requests_are_served() {
        assert_eq!(handoff(br#"{"kv_transfer_params":{"uuid":7}}"#).as_deref(), Ok(r#"{"uuid":7}"#));
        assert_eq!(handoff(b"{}"), Err("missing"));
        let answer = br#"{"usage":{"prompt_tokens_details":{"cached_tokens":9}}}"#;
        let passed = passed_on(Some(4), false, &[&answer[..9], &answer[9..]]);
        assert_eq!(passed, br#"{"usage":{"prompt_tokens_details":{"cached_tokens":4}}}"#);
        assert_eq!(targets("a:1,b:2").unwrap().len(), 2);
    }
}
