//! `token-producer`: how a prompt's length in tokens is determined; only by estimate so far.
//!
//! Must not know tokenizers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::part::Part;

/// llm-d's parameters.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Parameters {
    /// Accepted and ignored: an estimate is the same for every model.
    #[serde(skip_serializing_if = "Option::is_none")]
    model_name: Option<String>,
    /// Counting by an engine; known to llm-d and not here yet.
    #[serde(skip_serializing)]
    vllm: Option<Value>,
    /// How the estimate counts.
    estimate: Estimate,
    /// Counting by a tokenizer; known to llm-d and not here yet.
    #[serde(skip_serializing)]
    uds_tokenizer_config: Option<Value>,
}

/// How images and videos count; not supported yet.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Estimate {
    /// How images count; known to llm-d and not here yet.
    #[serde(skip_serializing)]
    image: Option<Value>,
    /// How videos count; known to llm-d and not here yet.
    #[serde(skip_serializing)]
    video: Option<Value>,
}

pub(super) fn build(parameters: &mut Parameters) -> Result<Part, String> {
    let not_here = |what: &str, hint: &str| Err(format!("{what} is known to llm-d and not here yet; {hint}"));
    if parameters.vllm.is_some() {
        return not_here("vllm: counting by an engine", "leave it out and tokens are estimated");
    }
    if parameters.uds_tokenizer_config.is_some() {
        return not_here("udsTokenizerConfig: counting by a tokenizer", "leave it out and tokens are estimated");
    }
    if parameters.estimate.image.is_some() || parameters.estimate.video.is_some() {
        return not_here("estimate: counting images and videos", "leave `image` and `video` out");
    }
    Ok(Part::Tokens)
}
