//! The parameters of `session-affinity-filter` and `session-affinity-scorer`, and their test for a bound endpoint.
//!
//! Must not know how headers are read or where bindings are kept: each row states whether it is bound.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::registration::{Invalid, Kept, SessionSource};
use crate::schedule::Candidate;

/// llm-d's parameters and defaults.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct SessionAffinityParameters {
    /// How a session is identified.
    pub strategy: Strategy,
    /// Settings of `encoded_endpoint_header`.
    pub encoded_endpoint_header_config: EncodedEndpointHeader,
    /// Settings of `session_id`.
    pub session_id_config: SessionId,
    /// The profile whose endpoint a session is bound to. Accepted and ignored: it is the profile that
    /// the request is sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile_name: Option<String>,
}

/// How a session is identified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The answer carries the encoded endpoint in a header, and the client sends it back.
    #[default]
    EncodedEndpointHeader,
    /// The client names its session, and the tier remembers its endpoint.
    SessionId,
}

/// The header for the encoded endpoint.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct EncodedEndpointHeader {
    /// The header's name, in requests and in answers; not empty.
    pub header: String,
}

/// Where a session's name comes from, and how long its binding is kept.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct SessionId {
    /// Where the session's name comes from, at least one. The first usable one counts.
    pub sources: Vec<Source>,
    /// Seconds that a binding is kept after its last use, 1 to 604800 (a week).
    pub eviction_ttl_seconds: u64,
    /// Accepted and ignored: expired bindings are removed at once.
    pub eviction_sweep_seconds: u64,
}

/// One source of a session's name.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Source {
    /// The name of a request header.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub header: String,
    /// Known to llm-d and not here yet; refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attribute: Option<String>,
    /// Known to llm-d and not here yet; refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub producer: Option<String>,
}

/// The rule that both plugins use.
#[derive(Clone, Debug)]
pub(super) struct SessionAffinity {
    pub(super) source: SessionSource,
}

// === impl EncodedEndpointHeader ===

impl Default for EncodedEndpointHeader {
    fn default() -> Self {
        Self { header: "x-session-token".to_owned() }
    }
}

// === impl SessionId ===

impl Default for SessionId {
    fn default() -> Self {
        let source = Source { header: "x-session-id".to_owned(), ..Source::default() };
        Self { sources: vec![source], eviction_ttl_seconds: 300, eviction_sweep_seconds: 10 }
    }
}

// === impl SessionAffinity ===

impl SessionAffinity {
    pub(super) fn build(parameters: SessionAffinityParameters) -> Result<Self, Invalid> {
        let header = &parameters.encoded_endpoint_header_config.header;
        if header.is_empty() {
            return Err("encodedEndpointHeaderConfig: `header` must not be empty".to_owned());
        }
        let SessionId { sources, eviction_ttl_seconds: ttl, .. } = &parameters.session_id_config;
        if sources.is_empty() {
            return Err("sessionIdConfig: `sources` must name at least one header".to_owned());
        }
        if *ttl == 0 || *ttl > 7 * 24 * 3600 {
            return Err(format!("sessionIdConfig: evictionTtlSeconds must be within 1 and 604800, got {ttl}"));
        }
        if sources.iter().any(|source| source.attribute.is_some() || source.producer.is_some()) {
            let message =
                "sessionIdConfig: sources that are attributes are known to llm-d and not here yet; name a `header`";
            return Err(message.to_owned());
        }
        if sources.iter().any(|source| source.header.is_empty()) {
            return Err("sessionIdConfig: each of `sources` must name a header".to_owned());
        }
        let source = match parameters.strategy {
            Strategy::EncodedEndpointHeader => SessionSource::Token { header: header.to_ascii_lowercase() },
            Strategy::SessionId => SessionSource::Id {
                headers: sources.iter().map(|source| source.header.to_ascii_lowercase()).collect(),
                ttl: Duration::from_secs(*ttl),
            },
        };
        Ok(Self { source })
    }

    /// What the tier keeps for it.
    pub(super) fn keeps(&self) -> Vec<Kept> {
        vec![Kept::Sessions(self.source.clone())]
    }

    /// Whether the request's session is bound to `row`.
    pub(super) fn is_bound(&self, row: &Candidate<'_>) -> bool {
        match self.source {
            SessionSource::Token { .. } => row.session.token,
            SessionSource::Id { .. } => row.session.id,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn build(change: impl FnOnce(&mut SessionAffinityParameters)) -> Result<SessionSource, Invalid> {
        let mut parameters = SessionAffinityParameters::default();
        change(&mut parameters);
        SessionAffinity::build(parameters).map(|affinity| affinity.source)
    }

    #[test]
    fn the_defaults_are_llm_ds() {
        assert_eq!(build(|_| {}).unwrap(), SessionSource::Token { header: "x-session-token".into() });
        let id = build(|p| p.strategy = Strategy::SessionId).unwrap();
        let (headers, ttl) = (vec!["x-session-id".to_owned()], Duration::from_secs(300));
        assert_eq!(id, SessionSource::Id { headers, ttl });
    }

    #[test]
    fn invalid_parameters_are_refused_by_name() {
        assert!(build(|p| p.encoded_endpoint_header_config.header.clear()).unwrap_err().contains("`header`"));
        assert!(build(|p| p.session_id_config.sources.clear()).unwrap_err().contains("`sources`"));
        assert!(build(|p| p.session_id_config.eviction_ttl_seconds = 0).unwrap_err().contains("evictionTtlSeconds"));
        let attribute = |p: &mut SessionAffinityParameters| p.session_id_config.sources[0].attribute = Some("x".into());
        assert!(build(attribute).unwrap_err().contains("not here yet"));
    }
}
