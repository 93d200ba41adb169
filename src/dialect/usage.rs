//! What an engine counted, as its answers tell it.
//!
//! Must not know how an answer is framed; `sse` and `json_answer` find the piece of JSON that is read here.

use serde::Deserialize;

use crate::request::Usage;

/// `usage` of OpenAI's chat and text completions, and of the responses and messages APIs, which count under other names.
#[derive(Deserialize)]
struct Counts {
    #[serde(alias = "input_tokens")]
    prompt_tokens: Option<u64>,
    #[serde(alias = "output_tokens")]
    completion_tokens: Option<u64>,
    #[serde(alias = "input_tokens_details")]
    prompt_tokens_details: Option<Details>,
    cache_read_input_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Details {
    cached_tokens: Option<u64>,
}

/// An event of a stream: `usage` stands at the top, or inside of the response or message it belongs to.
#[derive(Deserialize)]
struct Envelope {
    usage: Option<Counts>,
    response: Option<Inner>,
    message: Option<Inner>,
}

#[derive(Deserialize)]
struct Inner {
    usage: Option<Counts>,
}

/// The usage in a whole event or answer.
pub(super) fn in_event(json: &[u8]) -> Option<Usage> {
    let envelope: Envelope = serde_json::from_slice(json).ok()?;
    let inner = || envelope.response.or(envelope.message).and_then(|inner| inner.usage);
    envelope.usage.or_else(inner).map(Usage::from)
}

/// The usage in the value of a `usage` key alone.
pub(super) fn in_value(json: &[u8]) -> Option<Usage> {
    serde_json::from_slice::<Counts>(json).ok().map(Usage::from)
}

impl From<Counts> for Usage {
    fn from(counts: Counts) -> Self {
        let details = counts.prompt_tokens_details.and_then(|details| details.cached_tokens);
        Self {
            prompt_tokens: counts.prompt_tokens.unwrap_or(0),
            completion_tokens: counts.completion_tokens.unwrap_or(0),
            cached_tokens: details.or(counts.cache_read_input_tokens),
        }
    }
}
