//! Refusals with vLLM's own messages and JSON.
//!
//! Must not know requests; see `tests/fixtures/vllm` and reference answers of vLLM 0.32.0.

use http::StatusCode;
use serde_json::{Value, json};

/// Why a request gets no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) kind: Kind,
}

/// Which of the two JSON shapes it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// That of the OpenAI routes.
    Error {
        /// A sentence for the user.
        message: String,
        /// `type`.
        name: &'static str,
        /// The field at fault.
        param: Option<String>,
    },
    /// That of the web framework below them.
    Detail(&'static str),
}

// === impl Refusal ===

impl Refusal {
    /// A body that is not JSON, from the byte `at` on.
    pub(super) fn not_json(at: usize) -> Self {
        let place = format!("body.{at}");
        let message = format!(
            "1 validation error:\n  {{'type': 'json_invalid', 'loc': '{place}', 'msg': 'JSON decode error', \
             'input': '<dict of 0 items>', 'ctx': {{'error': 'Expecting value'}}}}"
        );
        Self::error(StatusCode::BAD_REQUEST, "Bad Request", message, Some(&place))
    }

    /// JSON that is not a request.
    pub(super) fn not_a_request(why: &str) -> Self {
        Self::error(StatusCode::BAD_REQUEST, "Bad Request", format!("1 validation error:\n  {why}"), None)
    }

    /// A body without the content type of JSON.
    pub(super) fn not_said_to_be_json() -> Self {
        Self::not_a_request("Unsupported Media Type: Only 'application/json' is allowed")
    }

    /// A field with a value that is out of bounds.
    pub(super) fn bad_parameter(message: String, param: Option<&str>) -> Self {
        Self::error(StatusCode::BAD_REQUEST, "BadRequestError", message, param)
    }

    /// A prompt that is longer than the context.
    pub(super) fn prompt_too_long(tokens: usize, most: usize) -> Self {
        let message = format!(
            "This model's maximum context length is {most} tokens. However, your prompt contains {tokens} input \
             tokens, which exceeds this limit even without any output tokens. Please reduce the length of the input \
             prompt. (parameter=input_tokens, value={tokens})"
        );
        Self::bad_parameter(message, Some("input_tokens"))
    }

    /// A prompt that leaves no room for the answer asked for.
    pub(super) fn answer_too_long(tokens: usize, answer: usize, most: usize) -> Self {
        let message = format!(
            "This model's maximum context length is {most} tokens. However, you requested {answer} output tokens and \
             your prompt contains {tokens} input tokens, for a total of {} tokens. Please reduce the length of the \
             input prompt or the number of requested output tokens. (parameter=input_tokens, value={tokens})",
            tokens + answer
        );
        Self::bad_parameter(message, Some("input_tokens"))
    }

    /// A model that is not served. As in a real engine, adapters are not listed.
    pub(super) fn no_such_model(asked: &str, served: &str) -> Self {
        let message = format!("The model `{asked}` does not exist. Valid aliases: {served}.");
        Self::error(StatusCode::NOT_FOUND, "NotFoundError", message, Some("model"))
    }

    /// A full queue.
    pub(super) fn busy() -> Self {
        let message = "The engine is currently busy and cannot accept new requests. Please try again later or on a \
                       different instance.";
        Self::error(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable", message.to_owned(), None)
    }

    /// An engine whose driver has ended.
    pub(super) fn dead() -> Self {
        let message = "EngineCore encountered an issue. See stack trace (above) for the root cause.";
        Self::error(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", message.to_owned(), None)
    }

    /// A request whose KV could not be loaded.
    pub(super) fn not_loaded() -> Self {
        Self::error(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", "Internal server error".to_owned(), None)
    }

    /// A body of more than `most` bytes. A real engine has no bound.
    pub(super) fn too_large(most: usize) -> Self {
        let message = format!("the request's body has more than {most} bytes; send a shorter prompt");
        Self::error(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large", message, None)
    }

    /// An unknown path.
    pub(super) fn not_found() -> Self {
        Self { status: StatusCode::NOT_FOUND, kind: Kind::Detail("Not Found") }
    }

    /// A known path with a wrong method.
    pub(super) fn wrong_method() -> Self {
        Self { status: StatusCode::METHOD_NOT_ALLOWED, kind: Kind::Detail("Method Not Allowed") }
    }

    /// Its JSON.
    pub(super) fn body(&self) -> Value {
        match &self.kind {
            Kind::Error { message, name, param } => {
                json!({ "error": { "message": message, "type": name, "param": param, "code": self.status.as_u16() } })
            }
            Kind::Detail(detail) => json!({ "detail": detail }),
        }
    }

    fn error(status: StatusCode, name: &'static str, message: String, param: Option<&str>) -> Self {
        Self { status, kind: Kind::Error { message, name, param: param.map(str::to_owned) } }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Bodies as a real vLLM 0.32.0 sent them.
    #[test]
    fn refusals_are_those_of_a_real_engine() {
        let captured = [
            (
                Refusal::not_json(25),
                r#"{"error":{"message":"1 validation error:\n  {'type': 'json_invalid', 'loc': 'body.25', 'msg': 'JSON decode error', 'input': '<dict of 0 items>', 'ctx': {'error': 'Expecting value'}}","type":"Bad Request","param":"body.25","code":400}}"#,
            ),
            (
                Refusal::prompt_too_long(9000, 8192),
                r#"{"error":{"message":"This model's maximum context length is 8192 tokens. However, your prompt contains 9000 input tokens, which exceeds this limit even without any output tokens. Please reduce the length of the input prompt. (parameter=input_tokens, value=9000)","type":"BadRequestError","param":"input_tokens","code":400}}"#,
            ),
            (
                Refusal::no_such_model("nope", "tiny"),
                r#"{"error":{"message":"The model `nope` does not exist. Valid aliases: tiny.","type":"NotFoundError","param":"model","code":404}}"#,
            ),
            (
                Refusal::busy(),
                r#"{"error":{"message":"The engine is currently busy and cannot accept new requests. Please try again later or on a different instance.","type":"Service Unavailable","param":null,"code":503}}"#,
            ),
            (
                Refusal::not_said_to_be_json(),
                r#"{"error":{"message":"1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed","type":"Bad Request","param":null,"code":400}}"#,
            ),
            (Refusal::not_found(), r#"{"detail":"Not Found"}"#),
        ];
        for (ours, theirs) in captured {
            assert_eq!(ours.body(), serde_json::from_str::<Value>(theirs).unwrap());
        }
    }
}
