//! The body of a completion or a chat completion, read and checked as vLLM does it.
//!
//! Must not know sockets or the engine's state.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::kv_params::KvAsk;
use super::refusal::Refusal;
use super::tokens::{Tokens, natural_length};
use crate::EngineConfig;
use crate::model::Request;

/// Answer tokens of a completion without `max_tokens`.
const COMPLETION_TOKENS: usize = 16;

/// Answers to one request: its prompts times `n`. A real engine bounds `n` alone, at 16,384.
const CHOICES_MAX: usize = 128;

/// The two routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `/v1/completions`.
    Completions,
    /// `/v1/chat/completions`.
    Chat,
}

/// A request that can be served.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ask {
    pub(super) route: Route,
    /// The model or adapter, as the answer names it.
    pub(super) model: String,
    /// One for each choice of the answer, in order. The driver assigns their ids later.
    pub(super) requests: Vec<Request>,
    /// Tokens of all prompts; a prompt with `n` answers counts once.
    pub(super) prompt_tokens: usize,
    /// Answers to each prompt.
    pub(super) n: usize,
    /// Answers to all prompts, which equals the number of requests.
    pub(super) choices: usize,
    /// Whether answers end by themselves (`stop`), not at the client's bound (`length`).
    pub(super) natural: bool,
    pub(super) stream: bool,
    /// Whether a stream ends with a chunk of usage.
    pub(super) include_usage: bool,
    /// Whether every chunk of a stream has usage.
    pub(super) continuous_usage: bool,
    /// What it asks of the KV connector.
    pub(super) kv: KvAsk,
    /// Hashes of its images and other items, each as its JSON.
    pub(super) media: Vec<u64>,
}

#[derive(Deserialize)]
struct Body<'a> {
    model: Option<String>,
    #[serde(default)]
    prompt: Option<PromptBody>,
    #[serde(default)]
    messages: Option<Vec<MessageBody>>,
    #[serde(borrow, default)]
    tools: Option<&'a RawValue>,
    max_tokens: Option<i64>,
    max_completion_tokens: Option<i64>,
    n: Option<usize>,
    temperature: Option<f64>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    cache_salt: Option<String>,
    kv_transfer_params: Option<Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum PromptBody {
    Text(String),
    Ids(Vec<u32>),
    Texts(Vec<String>),
    ManyIds(Vec<Vec<u32>>),
}

#[derive(Deserialize)]
struct MessageBody {
    role: String,
    #[serde(default)]
    content: Value,
    #[serde(default)]
    tool_calls: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StreamOptions {
    include_usage: Option<bool>,
    continuous_usage_stats: Option<bool>,
}

// === impl Route ===

impl Route {
    /// How ids of its answers begin.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Completions => "cmpl",
            Self::Chat => "chatcmpl",
        }
    }
}

// === impl Ask ===

impl Ask {
    /// Reads `bytes`, a body for `route` of an engine with the configuration `config`.
    ///
    /// # Errors
    /// The refusal that a real engine sends for a body that it cannot serve.
    pub(super) fn read(route: Route, bytes: &[u8], config: &EngineConfig) -> Result<Self, Refusal> {
        let body: Body<'_> = serde_json::from_slice(bytes).map_err(|why| {
            if why.is_data() {
                return Refusal::not_a_request(&why.to_string());
            }
            Refusal::not_json(offset(bytes, why.line(), why.column()))
        })?;
        let (model, adapter) = served_model(body.model.as_deref(), config)?;
        if let Some(temperature) = body.temperature.filter(|temperature| *temperature < 0.0) {
            let given = format!("{temperature:?}");
            let message =
                format!("temperature must be non-negative, got {given}. (parameter=temperature, value={given})");
            return Err(Refusal::bad_parameter(message, Some("temperature")));
        }
        let (prompts, media) = match route {
            Route::Completions => (prompts(body.prompt)?, Vec::new()),
            Route::Chat => {
                let tokens = conversation(body.messages, body.tools)?;
                let media = tokens.items().to_vec();
                (vec![tokens.into_ids()], media)
            }
        };
        let n = body.n.unwrap_or(1);
        if n == 0 || prompts.len().saturating_mul(n) > CHOICES_MAX {
            let message = format!(
                "n must be at least 1, and prompts times n at most {CHOICES_MAX}, got {n}. (parameter=n, value={n})"
            );
            return Err(Refusal::bad_parameter(message, Some("n")));
        }
        let asked = body.max_completion_tokens.filter(|_| route == Route::Chat).or(body.max_tokens);
        let asked = asked.map(|tokens| bound(tokens, config.max_model_len)).transpose()?;
        let options = body.stream_options.unwrap_or_default();
        let prompt_tokens = prompts.iter().map(Vec::len).sum();
        let mut requests = Vec::with_capacity(prompts.len() * n);
        for tokens in prompts {
            let max_tokens = answer_length(route, &tokens, asked, config.max_model_len)?;
            let (adapter, salt) = (adapter.clone(), body.cache_salt.clone());
            requests.extend(std::iter::repeat_n(Request { id: 0, tokens, adapter, salt, max_tokens }, n));
        }
        Ok(Self {
            route,
            model,
            choices: requests.len(),
            requests,
            prompt_tokens,
            n,
            natural: asked.is_none() && route == Route::Chat,
            stream: body.stream.unwrap_or(false),
            include_usage: options.include_usage.unwrap_or(false),
            continuous_usage: options.continuous_usage_stats.unwrap_or(false),
            kv: KvAsk::read(body.kv_transfer_params.as_ref()),
            media,
        })
    }
}

/// The model's name, and the adapter when it is one.
fn served_model(asked: Option<&str>, config: &EngineConfig) -> Result<(String, Option<String>), Refusal> {
    let asked = asked.unwrap_or(&config.model);
    if asked == config.model {
        return Ok((asked.to_owned(), None));
    }
    if config.adapters.iter().any(|adapter| adapter == asked) {
        return Ok((asked.to_owned(), Some(asked.to_owned())));
    }
    Err(Refusal::no_such_model(asked, &config.model))
}

fn prompts(prompt: Option<PromptBody>) -> Result<Vec<Vec<u32>>, Refusal> {
    let prompts: Vec<Vec<u32>> = match prompt {
        None => Vec::new(),
        Some(PromptBody::Text(text)) => vec![Tokens::of(&text).into_ids()],
        Some(PromptBody::Ids(ids)) => vec![ids],
        Some(PromptBody::Texts(texts)) => texts.iter().map(|text| Tokens::of(text).into_ids()).collect(),
        Some(PromptBody::ManyIds(lists)) => lists,
    };
    if prompts.is_empty() || prompts.iter().any(Vec::is_empty) {
        let message = "Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)";
        return Err(Refusal::bad_parameter(message.to_owned(), Some("prompt")));
    }
    Ok(prompts)
}

/// The conversation as a chat template writes it: tools, then each message in its frame, then the beginning of an
/// assistant's message. So the prompt of the next turn begins with all of this one.
fn conversation(messages: Option<Vec<MessageBody>>, tools: Option<&RawValue>) -> Result<Tokens, Refusal> {
    let Some(messages) = messages else {
        return Err(Refusal::not_a_request(
            "{'type': 'missing', 'loc': ('body', 'messages'), 'msg': 'Field required'}",
        ));
    };
    if messages.is_empty() {
        let message = "Cannot apply chat template to an empty conversation. Provide at least one message.";
        return Err(Refusal::bad_parameter(message.to_owned(), None));
    }
    let mut tokens = Tokens::default();
    if let Some(tools) = tools.filter(|tools| !matches!(tools.get(), "null" | "[]")) {
        tokens.message_begins("tools");
        tokens.text(tools.get());
        tokens.message_ends();
    }
    for message in &messages {
        tokens.message_begins(&message.role);
        content(&message.content, &mut tokens);
        if !message.tool_calls.is_null() {
            tokens.text(&message.tool_calls.to_string());
        }
        tokens.message_ends();
    }
    tokens.message_begins("assistant");
    Ok(tokens)
}

fn content(content: &Value, tokens: &mut Tokens) {
    match content {
        Value::Null => {}
        Value::String(text) => tokens.text(text),
        Value::Array(parts) => {
            for part in parts {
                match part.get("text").and_then(Value::as_str) {
                    Some(text) => tokens.text(text),
                    None => tokens.media(&part.to_string()),
                }
            }
        }
        other => tokens.text(&other.to_string()),
    }
}

fn bound(tokens: i64, most: usize) -> Result<usize, Refusal> {
    let refused = |why: String| {
        let message = format!("{why} (parameter=max_tokens, value={tokens})");
        Err(Refusal::bad_parameter(message, Some("max_tokens")))
    };
    match usize::try_from(tokens) {
        Ok(0) | Err(_) => refused(format!("max_tokens must be at least 1, got {tokens}.")),
        Ok(asked) if asked > most => refused(format!(
            "max_tokens={tokens} cannot be greater than max_model_len={most}. Please request fewer output tokens."
        )),
        Ok(asked) => Ok(asked),
    }
}

fn answer_length(route: Route, prompt: &[u32], asked: Option<usize>, most: usize) -> Result<usize, Refusal> {
    let room = most.saturating_sub(prompt.len());
    if room == 0 {
        return Err(Refusal::prompt_too_long(prompt.len(), most));
    }
    match (asked, route) {
        (Some(asked), _) if asked > room => Err(Refusal::answer_too_long(prompt.len(), asked, most)),
        (Some(asked), _) => Ok(asked),
        (None, Route::Completions) => Ok(COMPLETION_TOKENS.min(room)),
        (None, Route::Chat) => Ok(natural_length(prompt).min(room)),
    }
}

/// The byte offset of a line and column in `bytes`; columns count from 1, and from 0 where a line has no byte yet.
fn offset(bytes: &[u8], line: usize, column: usize) -> usize {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').take(line.saturating_sub(1));
    (lines.map(<[u8]>::len).sum::<usize>() + column).min(bytes.len())
}

#[cfg(test)]
#[path = "tests/ask.rs"]
mod tests;
