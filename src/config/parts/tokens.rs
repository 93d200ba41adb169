//! `token-producer`: how a prompt's length in tokens is determined: by a vLLM that renders prompts, else by estimate.
//!
//! Must not know tokenizers, nor connections.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::part::Part;
use crate::config::blueprint::RendererSettings;
use crate::config::duration;

/// llm-d's parameters.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Parameters {
    /// Accepted and ignored: an estimate is the same for every model, and a renderer is asked for the request's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    model_name: Option<String>,
    /// The vLLM that renders prompts, to count their tokens. Without it they are estimated.
    #[serde(skip_serializing_if = "Option::is_none")]
    vllm: Option<Renderer>,
    /// How the estimate counts.
    estimate: Estimate,
    /// Counting by a tokenizer; known to llm-d and not here yet.
    #[serde(skip_serializing)]
    uds_tokenizer_config: Option<Value>,
}

/// The vLLM that renders.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Renderer {
    /// `http://host:port` of a vLLM that was started with `--enable-scale-out`.
    url: String,
    /// How long a prompt of text may take, in Go's notation; then the estimate counts.
    timeout: String,
    /// The same for a prompt with images, audio or video.
    mm_timeout: String,
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
    if parameters.uds_tokenizer_config.is_some() {
        return not_here("udsTokenizerConfig: counting by a tokenizer", "leave it out and tokens are estimated");
    }
    if parameters.estimate.image.is_some() || parameters.estimate.video.is_some() {
        return not_here("estimate: counting images and videos", "leave `image` and `video` out");
    }
    let renderer = parameters.vllm.as_ref().map(Renderer::settings).transpose();
    Ok(Part::Tokens(renderer.map_err(|why| format!("vllm: {why}"))?))
}

// === impl Renderer ===

impl Renderer {
    fn settings(&self) -> Result<RendererSettings, String> {
        let Some(authority) = self.url.strip_prefix("http://") else {
            let hint = if self.url.starts_with("https://") { "; https is known to llm-d and not here yet" } else { "" };
            return Err(format!("`url` must be `http://host:port`, got `{}`{hint}", self.url));
        };
        let wrong = || format!("`url` must be `http://host:port`, got `{}`", self.url);
        let (host, port) = authority.trim_end_matches('/').rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        if host.is_empty() || host.contains(['/', '@', '?']) {
            return Err(wrong());
        }
        let within = |name: &str, text: &str| match duration::read(text) {
            Ok(timeout) if timeout.is_zero() => Err(format!("`{name}` must be above 0")),
            read => read.map_err(|why| format!("`{name}`: {why}")),
        };
        let timeout = within("timeout", &self.timeout)?;
        Ok(RendererSettings {
            host: host.to_owned(),
            port,
            timeout,
            media_timeout: within("mmTimeout", &self.mm_timeout)?,
        })
    }
}

impl Default for Renderer {
    fn default() -> Self {
        let [url, timeout, mm_timeout] = ["http://localhost:8000", "5s", "30s"].map(str::to_owned);
        Self { url, timeout, mm_timeout }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn renderer(url: &str, timeout: &str) -> Result<RendererSettings, String> {
        Renderer { url: url.to_owned(), timeout: timeout.to_owned(), ..Renderer::default() }.settings()
    }

    #[test]
    fn a_url_is_a_host_and_a_port() {
        let settings = renderer("http://[::1]:8001/", "250ms").unwrap();
        assert_eq!((settings.host.as_str(), settings.port), ("[::1]", 8001));
        assert_eq!((settings.timeout, settings.media_timeout), (Duration::from_millis(250), Duration::from_secs(30)));
        for url in ["localhost:8000", "http://localhost", "http://:8000", "http://a:0", "http://u@h/x:1"] {
            assert!(renderer(url, "1s").unwrap_err().contains("`http://host:port`"), "{url}");
        }
        assert!(renderer("https://a:1", "1s").unwrap_err().contains("not here yet"));
        assert!(renderer("http://a:1", "0s").unwrap_err().contains("above 0"));
    }
}
