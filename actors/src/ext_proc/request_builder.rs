//! A whole request, read: what Envoy sent becomes the one value the scheduler sees.
//!
//! Must not know how bodies are parsed (`reading` asks the core's dialects) or what is done with the request.
//! A request without a body, or with one that no parser reads, has no model and an empty chain: load alone places it.

use std::net::SocketAddr;

use murmuration::request::{InferenceRequest, Refusal};

use super::control::Control;
use super::headers::Head;
use super::reading::{self, Edit, Unread};
use super::session;
use super::settings::{ResponsePath, Settings};

/// Whose share a request is when nobody said.
pub const DEFAULT_FLOW: &str = "default-flow";

/// The parts of a whole request.
#[derive(Clone, Copy, Debug)]
pub struct RequestBuilder<'a> {
    /// Its headers.
    pub head: &'a Head,
    /// Its name.
    pub id: &'a str,
    /// Its body; empty where it has none.
    pub body: &'a [u8],
    /// The subset hint.
    pub subset: Option<&'a [SocketAddr]>,
}

// === impl RequestBuilder ===

impl RequestBuilder<'_> {
    /// The request, and the change its body needs before it goes on. Refused when its control headers contradict each
    /// other, or when a parser claims its path and the body is not what the path promises.
    pub fn read(&self, settings: &Settings) -> Result<(InferenceRequest, Option<Edit>), Refusal> {
        let path = self.head.get(":path").unwrap_or("/");
        let control = Control::read(self.head, settings.trusted)?;
        let mut request = InferenceRequest {
            id: self.id.to_owned(),
            body_bytes: self.body.len() as u64,
            objective: control.objective.map(str::to_owned),
            fairness_id: control.fairness_id.unwrap_or(DEFAULT_FLOW).to_owned(),
            subset: self.subset.map(|subset| subset.iter().copied().collect()),
            session: session::read(self.head, control.fairness_id.unwrap_or(DEFAULT_FLOW), settings),
            attended: settings.response_path == ResponsePath::Stay,
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
        request.prompt = parsed.prompt;
        request.content_hash = parsed.content_hash;
        request.streaming = parsed.streaming;
        request.max_output_tokens = parsed.max_output_tokens;
        Ok((request, parsed.edit))
    }

    /// The seed of a request whose content nobody reads: its path and its body, so that twins meet; without a body its
    /// path and its id, so that a thousand `GET /v1/models` do not all meet on one endpoint.
    fn unread_hash(&self, salt: u128, path: &str) -> u64 {
        let content = if self.body.is_empty() { self.id.as_bytes() } else { self.body };
        reading::hash(salt, path, content)
    }
}
