//! Sessions in headers: read from requests, and sent with answers as base64 of `namespace/name` and of its signature.
//!
//! Must not know which sessions are bound. A client only states a preference: an endpoint that discovery did not
//! announce is never chosen. A token without the tier's own signature is ignored. Otherwise a client could aim at an
//! endpoint, or probe for endpoint names.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use murmuration::id::{EndpointId, SessionKey};
use murmuration::request::Session;
use ring::hmac;

use super::headers::Head;
use super::settings::Settings;

/// The longest token or session name in bytes; longer ones are ignored.
const BYTES_MAX: usize = 1_024;
/// The label that the signature key is derived with, so that the salt itself signs nothing else.
const PURPOSE: &[u8] = b"murmuration session token 1";

/// The session that `head` names; session ids belong to `tenant`.
pub(super) fn read(head: &Head, tenant: &str, settings: &Settings) -> Session {
    let rules = &settings.sessions;
    let short = |text: &&str| !text.is_empty() && text.len() <= BYTES_MAX;
    let token = rules.token_header.as_deref().and_then(|name| head.get(name)).filter(short);
    let id = rules.id_headers.iter().find_map(|name| head.get(name).filter(short));
    Session {
        token: token.and_then(|token| endpoint(token, settings.tier_salt)),
        id: id.map(|id| SessionKey::of(tenant, id, settings.salt_of(head))),
    }
}

/// The token that stands for `endpoint` in the tier with this salt; every replica of the tier accepts it.
pub(super) fn token(endpoint: &EndpointId, tier_salt: u128) -> String {
    let name = endpoint.as_str();
    let signature = hmac::sign(&key(tier_salt), name.as_bytes());
    format!("{}.{}", STANDARD.encode(name), STANDARD.encode(signature.as_ref()))
}

fn endpoint(token: &str, tier_salt: u128) -> Option<EndpointId> {
    let (name, signature) = token.split_once('.')?;
    let (name, signature) = (STANDARD.decode(name).ok()?, STANDARD.decode(signature).ok()?);
    hmac::verify(&key(tier_salt), &name, &signature).ok()?;
    let text = String::from_utf8(name).ok()?;
    let (namespace, name) = text.split_once('/')?;
    Some(EndpointId::new(namespace, name))
}

fn key(tier_salt: u128) -> hmac::Key {
    let root = hmac::Key::new(hmac::HMAC_SHA256, &tier_salt.to_be_bytes());
    hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&root, PURPOSE).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_the_endpoint_on_every_replica_of_the_tier() {
        let id = EndpointId::new("default", "vllm-0");
        let token = token(&id, 7);
        assert!(token.starts_with("ZGVmYXVsdC92bGxtLTA=."), "the name is as llm-d writes it: {token}");
        assert_eq!(endpoint(&token, 7), Some(id));
        assert_eq!(endpoint(&token, 8), None, "another tier's");
    }

    #[test]
    fn a_token_that_the_tier_did_not_sign_is_ignored() {
        let good = token(&EndpointId::new("default", "vllm-0"), 7);
        let (name, signature) = good.split_once('.').unwrap_or_default();
        let other = STANDARD.encode("default/vllm-1");
        let forged = format!("{other}.{signature}");
        let cut = &good[..good.len() - 4];
        for token in ["", ".", "vllm-0", "ZGVmYXVsdA==", "!", name, &forged, cut, &format!("{name}.")] {
            assert_eq!(endpoint(token, 7), None, "{token}");
        }
    }
}
