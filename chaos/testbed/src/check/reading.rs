//! Reads an engine's answer strictly: OpenAI's shape as a real vLLM sends it, whole and streamed.
//!
//! Must not know other answers; it reads one at a time. Shares no code with the picker's own readers.

use serde_json::Value;

use super::workload::{Api, MAX_TOKENS};
use murmuration_kit::client::Answer;

/// The content of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) text: String,
    pub(super) prompt_tokens: u64,
    /// `None` where the engine does not report it.
    pub(super) cached_tokens: Option<u64>,
}

/// Reads an answer of this shape and model, which was asked for `as_stream` or whole.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub(super) fn read(came: &Answer, as_stream: bool, api: Api, model: &str) -> Result<Reading, String> {
    if came.status != http::StatusCode::OK {
        return Err(format!("answered {}: {}", came.status, excerpt(&came.body)));
    }
    if as_stream { streamed(came, api, model) } else { whole(came, api, model) }
}

/// The beginning of a body, for an error message.
pub(super) fn excerpt(body: &[u8]) -> String {
    const SHOWN_BYTES: usize = 200;
    let cut = if body.len() > SHOWN_BYTES { "…" } else { "" };
    format!("{:?}{cut}", String::from_utf8_lossy(&body[..body.len().min(SHOWN_BYTES)]))
}

fn whole(answer: &Answer, api: Api, model: &str) -> Result<Reading, String> {
    kind(answer.header("content-type"), "application/json")?;
    let json: Value = serde_json::from_slice(&answer.body)
        .map_err(|why| format!("the body is no JSON: {why}: {}", excerpt(&answer.body)))?;
    let object = match api {
        Api::Chat => "chat.completion",
        Api::Completions => "text_completion",
    };
    head(&json, object, model)?;
    let choice = &json["choices"][0];
    let text = match api {
        Api::Chat => &choice["message"]["content"],
        Api::Completions => &choice["text"],
    };
    let text = text.as_str().ok_or_else(|| format!("its choice has no text: {choice}"))?;
    finished(choice)?;
    with_usage(text.to_owned(), &json["usage"])
}

fn streamed(answer: &Answer, api: Api, model: &str) -> Result<Reading, String> {
    kind(answer.header("content-type"), "text/event-stream")?;
    if answer.after_done > 0 {
        return Err(format!("{} events came after [DONE]", answer.after_done));
    }
    let object = match api {
        Api::Chat => "chat.completion.chunk",
        Api::Completions => "text_completion",
    };
    let (mut text, mut usage, mut last_choice) = (String::new(), None, Value::Null);
    for event in &answer.events {
        if usage.is_some() {
            return Err(format!("an event came after the one with usage: {}", excerpt(event.as_bytes())));
        }
        let json: Value = serde_json::from_str(event)
            .map_err(|why| format!("an event is no JSON: {why}: {}", excerpt(event.as_bytes())))?;
        if !json["error"].is_null() {
            return Err(format!("the stream reported an error: {}", json["error"]));
        }
        head(&json, object, model)?;
        let Some(choices) = json["choices"].as_array() else {
            return Err(format!("an event has no choices: {}", excerpt(event.as_bytes())));
        };
        let Some(choice) = choices.first() else {
            usage = Some(json["usage"].clone());
            continue;
        };
        let piece = match api {
            Api::Chat => &choice["delta"]["content"],
            Api::Completions => &choice["text"],
        };
        text.push_str(piece.as_str().unwrap_or_default());
        last_choice = choice.clone();
    }
    finished(&last_choice)?;
    let usage = usage.ok_or("the stream's last event carries no usage, though it was asked for")?;
    with_usage(text, &usage)
}

fn kind(found: Option<&str>, wanted: &str) -> Result<(), String> {
    match found {
        Some(found) if found.starts_with(wanted) => Ok(()),
        found => Err(format!("its content-type is {found:?} where {wanted} was due")),
    }
}

fn head(json: &Value, object: &str, model: &str) -> Result<(), String> {
    for (key, wanted) in [("object", object), ("model", model)] {
        if json[key] != wanted {
            return Err(format!("its {key} is {} where \"{wanted}\" was due", json[key]));
        }
    }
    match json["id"].as_str() {
        Some(id) if !id.is_empty() => Ok(()),
        _ => Err("it has no id".to_owned()),
    }
}

fn finished(choice: &Value) -> Result<(), String> {
    match choice["finish_reason"].as_str() {
        Some("length" | "stop") => Ok(()),
        _ => Err(format!("it ended with finish_reason {} where length or stop was due", choice["finish_reason"])),
    }
}

fn with_usage(text: String, usage: &Value) -> Result<Reading, String> {
    let count = |key: &str| usage[key].as_u64().ok_or_else(|| format!("its usage has no {key}: {usage}"));
    let (prompt, completion, total) = (count("prompt_tokens")?, count("completion_tokens")?, count("total_tokens")?);
    if prompt == 0 || total != prompt + completion {
        return Err(format!("its usage does not add up: {usage}"));
    }
    if completion == 0 || completion > MAX_TOKENS {
        return Err(format!("it has {completion} tokens where 1 to {MAX_TOKENS} were asked for"));
    }
    if text.is_empty() {
        return Err(format!("it has {completion} tokens and no text"));
    }
    let cached_tokens = usage["prompt_tokens_details"]["cached_tokens"].as_u64();
    if cached_tokens.is_some_and(|cached| cached > prompt) {
        return Err(format!("more tokens were cached than the prompt has: {usage}"));
    }
    Ok(Reading { text, prompt_tokens: prompt, cached_tokens })
}
