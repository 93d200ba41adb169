//! The inference APIs whose requests are checked, by path, and where each caps the length of its answer.
//!
//! Must not know connectors.

use percent_encoding::percent_decode_str;

use super::fields::Fields;

/// An API whose requests are checked. Requests to any other path go to the decode engine as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    ChatCompletions,
    Completions,
    Responses,
    Messages,
    /// vLLM's `/inference/v1/generate`: tokens in, tokens out.
    Generate,
    /// SGLang's `/generate`.
    SglangGenerate,
    /// `/invocations`: an engine tells by the body which API it is for, so it is checked and never split.
    Invocations,
}

const PATHS: [(&str, Api); 7] = [
    ("/v1/chat/completions", Api::ChatCompletions),
    ("/v1/completions", Api::Completions),
    ("/v1/responses", Api::Responses),
    ("/v1/messages", Api::Messages),
    ("/inference/v1/generate", Api::Generate),
    ("/generate", Api::SglangGenerate),
    ("/invocations", Api::Invocations),
];

// === impl Api ===

impl Api {
    /// The API at exactly this path of a URI, whose escapes are decoded once, as engines' HTTP servers do.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let path = percent_decode_str(path).decode_utf8_lossy();
        PATHS.iter().find(|(known, _)| *known == path).map(|(_, api)| *api)
    }

    /// Whether its requests can have legs at other engines.
    pub(crate) fn can_be_split(self) -> bool {
        self != Self::Invocations
    }

    /// llm-d's label `api_type`.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::Generate => "vllm_generate",
            Self::SglangGenerate => "sglang_generate",
            Self::Invocations => "invocations",
        }
    }

    /// Makes a request ask for one token in one piece. `min_tokens` goes: engines refuse one above the cap.
    pub(crate) fn cap_to_one_token(self, fields: &mut Fields<'_>) {
        match self {
            Self::Generate | Self::SglangGenerate => {
                let given = fields.raw("sampling_params").unwrap_or("{}").to_owned();
                // What is no object here is the engine's to refuse.
                if let Ok(mut sampling) = Fields::read(given.as_bytes()) {
                    let cap = if self == Self::Generate { "max_tokens" } else { "max_new_tokens" };
                    sampling.set(cap, "1");
                    sampling.remove("min_tokens");
                    sampling.remove("min_new_tokens");
                    fields.set("sampling_params", sampling.text());
                }
            }
            Self::Responses => {
                fields.set("max_output_tokens", "1");
                // It would be kept as an answer of its own.
                fields.set("store", "false");
                fields.remove("background");
            }
            Self::ChatCompletions => {
                fields.set("max_tokens", "1");
                fields.set("max_completion_tokens", "1");
            }
            Self::Completions | Self::Messages | Self::Invocations => fields.set("max_tokens", "1"),
        }
        fields.remove("min_tokens");
        fields.set("stream", "false");
        fields.remove("stream_options");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn capped(api: Api, body: &str) -> String {
        let mut fields = Fields::read(body.as_bytes()).unwrap();
        api.cap_to_one_token(&mut fields);
        fields.text()
    }

    #[test]
    fn every_api_is_capped_where_its_engine_reads_the_cap() {
        for (api, body, expected) in [
            (
                Api::ChatCompletions,
                r#"{"max_tokens":9,"min_tokens":4,"stream":true,"stream_options":{"include_usage":true},"a":1}"#,
                r#"{"max_tokens":1,"stream":false,"a":1,"max_completion_tokens":1}"#,
            ),
            (Api::Completions, r#"{"prompt":"x"}"#, r#"{"prompt":"x","max_tokens":1,"stream":false}"#),
            (Api::Messages, r#"{"max_tokens":9}"#, r#"{"max_tokens":1,"stream":false}"#),
            (
                Api::Responses,
                r#"{"input":"x","background":true,"max_output_tokens":7}"#,
                r#"{"input":"x","max_output_tokens":1,"store":false,"stream":false}"#,
            ),
            (
                Api::Generate,
                r#"{"token_ids":[1],"sampling_params":{"max_tokens":9,"min_tokens":3,"temperature":0}}"#,
                r#"{"token_ids":[1],"sampling_params":{"max_tokens":1,"temperature":0},"stream":false}"#,
            ),
            (
                Api::SglangGenerate,
                r#"{"text":"x"}"#,
                r#"{"text":"x","sampling_params":{"max_new_tokens":1},"stream":false}"#,
            ),
        ] {
            assert_eq!(capped(api, body), expected, "{api:?}");
        }
    }

    #[test]
    fn only_llm_ds_paths_are_split() {
        assert_eq!(Api::of("/v1/chat/completions").map(Api::label), Some("chat_completions"));
        for other in ["/v1/chat/completions/render", "/v1/messages/count_tokens", "/v1/embeddings", "/", ""] {
            assert_eq!(Api::of(other), None, "{other}");
        }
    }

    #[test]
    fn an_escape_does_not_hide_an_api() {
        for path in ["/v1/%63hat/completions", "/v1%2fchat%2Fcompletions", "/%761/chat/completions"] {
            assert_eq!(Api::of(path), Some(Api::ChatCompletions), "{path}");
        }
        for other in ["/v1/%2563hat/completions", "/v1/chat/completions%20", "/v1/%ff", "/%"] {
            assert_eq!(Api::of(other), None, "engines decode once: {other}");
        }
        let api = Api::of("/invocations");
        assert_eq!(api.map(Api::can_be_split), Some(false));
    }
}
