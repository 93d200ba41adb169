//! Builds the one value that the scheduler sees from a whole request.
//!
//! Must not know how bodies are parsed (`reading` calls the core's dialects) or what is done with the request. A
//! request without a body, or with one that no parser reads, has no model and an empty chain: load alone places it.

use std::net::SocketAddr;

use murmuration::request::{InferenceRequest, Refusal};

use super::control::{Control, plugin_headers};
use super::headers::Head;
use super::reading::{self, Edit, Unread};
use super::session;
use super::settings::{ResponsePath, Settings};

/// The fairness id of a request that names none.
pub const DEFAULT_FLOW: &str = "default-flow";

/// The parts of a whole request.
#[derive(Clone, Copy, Debug)]
pub struct RequestBuilder<'a> {
    /// Its headers.
    pub head: &'a Head,
    /// Its id.
    pub id: &'a str,
    /// Its body; empty where it has none.
    pub body: &'a [u8],
    /// The subset hint.
    pub subset: Option<&'a [SocketAddr]>,
}

// === impl RequestBuilder ===

impl RequestBuilder<'_> {
    /// Builds the request, and the change its body needs before it is sent on. Refused when its control headers
    /// contradict each other, or when a parser claims its path and the body is not valid for that path.
    pub fn read(&self, settings: &Settings) -> Result<(InferenceRequest, Option<Edit>), Refusal> {
        let path = self.head.get(":path").unwrap_or("/");
        let control = Control::read(self.head, settings.trusted, settings.profile_header.as_deref())?;
        let mut request = InferenceRequest {
            id: self.id.to_owned(),
            body_bytes: self.body.len() as u64,
            objective: control.objective.map(str::to_owned),
            fairness_id: control.fairness_id.unwrap_or(DEFAULT_FLOW).to_owned(),
            subset: self.subset.map(|subset| subset.iter().copied().collect()),
            session: session::read(self.head, control.fairness_id.unwrap_or(DEFAULT_FLOW), settings),
            headers: plugin_headers(self.head, settings.trusted, &settings.plugin_headers)?,
            profile: control.profile.map(str::to_owned),
            if_available: control.if_available,
            zone: control.zone.map(str::to_owned),
            sees_response: settings.response_path == ResponsePath::Stay,
            ..InferenceRequest::default()
        };
        let salt = settings.salt_of(self.head);
        let unread = Unread {
            salt,
            path,
            encoding: self.head.first_of(&["content-encoding"]),
            body: self.body,
            rewrite: control.model_rewrite,
        };
        let Some(parsed) = reading::read(settings, unread)? else {
            request.content_hash = self.unread_hash(salt, path);
            return Ok((request, None));
        };
        request.incoming_model = parsed.incoming_model;
        request.target_model = parsed.target_model;
        request.rewritten_by = parsed.rewritten_by;
        request.prompt = parsed.prompt;
        request.content_hash = parsed.content_hash;
        request.streaming = parsed.streaming;
        request.max_output_tokens = parsed.max_output_tokens;
        Ok((request, parsed.edit))
    }

    /// The content hash of a request that no parser reads. It covers the path and the body, so that equal requests
    /// prefer one endpoint. Without a body it covers the path and the id, so that a thousand `GET /v1/models` do not
    /// all meet on one endpoint.
    fn unread_hash(&self, salt: u128, path: &str) -> u64 {
        let content = if self.body.is_empty() { self.id.as_bytes() } else { self.body };
        reading::hash(salt, path, content)
    }
}
