//! Sessions in headers: read from requests, and told with answers as llm-d encodes it (base64 of `namespace/name`).
//!
//! Must not know who is bound. What a client says only names a wish: nobody is chosen whom discovery did not announce.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use murmuration::id::{EndpointId, SessionKey};
use murmuration::request::Session;

use super::headers::Head;
use super::settings::Settings;

/// Bytes of a token or of a session's name that are looked at; longer ones say nothing.
const BYTES_MAX: usize = 1_024;

/// What `head` says of its session.
pub(super) fn read(head: &Head, settings: &Settings) -> Session {
    let rules = &settings.sessions;
    let short = |text: &&str| !text.is_empty() && text.len() <= BYTES_MAX;
    let token = rules.token_header.as_deref().and_then(|name| head.get(name)).filter(short);
    let id = rules.id_headers.iter().find_map(|name| head.get(name).filter(short));
    Session { token: token.and_then(endpoint), id: id.map(|id| SessionKey::of(id, settings.tier_salt)) }
}

/// The token that stands for `endpoint`.
pub(super) fn token(endpoint: &EndpointId) -> String {
    STANDARD.encode(endpoint.as_str())
}

fn endpoint(token: &str) -> Option<EndpointId> {
    let text = String::from_utf8(STANDARD.decode(token).ok()?).ok()?;
    let (namespace, name) = text.split_once('/')?;
    Some(EndpointId::new(namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_llm_ds_and_comes_back_as_the_endpoint() {
        let id = EndpointId::new("default", "vllm-0");
        assert_eq!(token(&id), "ZGVmYXVsdC92bGxtLTA=");
        assert_eq!(endpoint("ZGVmYXVsdC92bGxtLTA="), Some(id));
    }

    #[test]
    fn what_is_no_token_names_nobody() {
        for token in ["", "vllm-0", "ZGVmYXVsdA==", "/w==", "!"] {
            assert_eq!(endpoint(token), None, "{token}");
        }
    }
}
