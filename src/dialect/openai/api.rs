//! Which JSON API a path belongs to.
//!
//! Must not know bodies.

/// The APIs whose bodies differ in what their fields mean; all others read alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `…/chat/completions`, and its `/render`: `messages` are required.
    Chat,
    /// `…/chat/completions/batch`: each of `messages` is a conversation.
    ChatBatch,
    /// `…/completions`, and its `/render`: `prompt`.
    Completions,
    /// `…/responses`: a string as `input` is a user's message.
    Responses,
    /// Any other path that is known to take JSON with a model: messages, embeddings, rerank, score, tokenize and so on.
    Other,
}

/// Known endings of paths; of two that fit, the longer one comes first.
const ENDINGS: [(&str, Api); 25] = [
    ("/chat/completions", Api::Chat),
    ("/chat/completions/render", Api::Chat),
    ("/chat/completions/batch", Api::ChatBatch),
    ("/completions", Api::Completions),
    ("/completions/render", Api::Completions),
    ("/responses", Api::Responses),
    ("/messages", Api::Other),
    ("/messages/count_tokens", Api::Other),
    ("/embeddings", Api::Other),
    ("/embed", Api::Other),
    ("/pooling", Api::Other),
    ("/classify", Api::Other),
    ("/rerank", Api::Other),
    ("/score", Api::Other),
    ("/generative_scoring", Api::Other),
    ("/systemone", Api::Other),
    ("/tokenize", Api::Other),
    ("/detokenize", Api::Other),
    ("/inference/v1/generate", Api::Other),
    ("/generate", Api::Other),
    ("/invocations", Api::Other),
    ("/conversations", Api::Other),
    ("/moderations", Api::Other),
    ("/audio/speech", Api::Other),
    ("/images/generations", Api::Other),
];

// === impl Api ===

impl Api {
    /// The API that `path` belongs to, by its ending; a query is ignored. `None` for every other path: there a body is
    /// inspected, and only counts if it is JSON with a model.
    pub fn of_path(path: &str) -> Option<Self> {
        let path = path.split(['?', '#']).next().unwrap_or(path);
        let path = path.trim_end_matches('/');
        ENDINGS.iter().find(|(ending, _)| path.ends_with(ending)).map(|(_, api)| *api)
    }

    /// Whether `messages` is required and must be a list of objects.
    pub(super) fn needs_messages(self) -> bool {
        matches!(self, Self::Chat | Self::ChatBatch)
    }
}
