//! Request bodies of OpenAI's chat and text completions, read in one go without building a tree.
//!
//! Must not know who asks or what is decided. A body is never written again: what was read is a set of spans, so what
//! goes on to the engine is byte for byte what came, but for a model name that is spliced in.

mod prompt;
mod shape;

use std::fmt;
use std::ops::Range;

pub use prompt::{Piece, PieceKind, read_prompt};
use shape::{Item, List, Part, Parts, Raw, Shape};

/// Which of OpenAI's APIs a body is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `…/chat/completions`
    ChatCompletions,
    /// `…/completions`
    Completions,
}

/// Where the model is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelField {
    /// The name, unescaped.
    pub name: String,
    /// The JSON string in the body, quotes included.
    pub span: Range<usize>,
}

/// What was read of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestBody {
    /// The model.
    pub model: ModelField,
    /// `stream`
    pub stream: bool,
    /// `max_completion_tokens`, or `max_tokens`.
    pub max_output_tokens: Option<u64>,
    /// `cache_salt`: prompts with different salts share no cache.
    pub cache_salt: Option<String>,
    /// The prompt's pieces in the order in which a chat template would write them.
    pub pieces: Vec<Piece>,
}

/// Why a body can't be read: where, what, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyError(String);

// === impl Api ===

impl Api {
    /// The API that `path` belongs to, by its ending; a query is ignored.
    pub fn of_path(path: &str) -> Option<Self> {
        let path = path.split(['?', '#']).next().unwrap_or(path);
        match path.strip_suffix("/completions")? {
            before if before == "/chat" || before.ends_with("/chat") => Some(Self::ChatCompletions),
            _ => Some(Self::Completions),
        }
    }
}

// === impl RequestBody ===

impl RequestBody {
    /// Reads `body`.
    ///
    /// # Errors
    /// [`BodyError`] with the field's path, when the body isn't JSON or isn't what the API asks for.
    pub fn read(api: Api, body: &[u8]) -> Result<Self, BodyError> {
        let text = std::str::from_utf8(body)
            .map_err(|error| BodyError(format!("the body is not UTF-8 at byte {}", error.valid_up_to())))?;
        let shape: Shape<'_> = serde_json::from_str(text).map_err(|error| BodyError(format!("the body: {error}")))?;
        let base = Base(text.as_ptr() as usize);
        let model = shape.model.ok_or_else(|| BodyError("model is missing; name the model to ask".to_owned()))?;
        let name = string(Some(model), "model")?.unwrap_or_default();
        let pieces = match api {
            Api::ChatCompletions => chat_pieces(&shape, base)?,
            Api::Completions => text_pieces(&shape, base)?,
        };
        let limit = shape.max_completion_tokens.or(shape.max_tokens);
        Ok(Self {
            model: ModelField { name, span: base.span(model.get()) },
            stream: shape.stream.is_some_and(|raw| raw.get() == "true"),
            max_output_tokens: limit.and_then(|raw| raw.get().parse().ok()),
            cache_salt: string(shape.cache_salt, "cache_salt")?,
            pieces,
        })
    }

    /// What takes the place of [`ModelField::span`] when the engine shall be asked for `model`.
    pub fn model_splice(&self, model: &str) -> (Range<usize>, Vec<u8>) {
        let quoted = serde_json::Value::from(model).to_string();
        (self.model.span.clone(), quoted.into_bytes())
    }
}

/// Where the body starts in memory: spans are told relative to it.
#[derive(Clone, Copy, Debug)]
struct Base(usize);

impl Base {
    fn span(self, part: &str) -> Range<usize> {
        let start = (part.as_ptr() as usize).saturating_sub(self.0);
        start..start + part.len()
    }
}

fn string(raw: Option<Raw<'_>>, path: &str) -> Result<Option<String>, BodyError> {
    let Some(raw) = raw.filter(|raw| raw.get() != "null") else {
        return Ok(None);
    };
    let wrong = |_| BodyError(format!("{path} must be a string, got {}", kind(raw.get())));
    serde_json::from_str(raw.get()).map(Some).map_err(wrong)
}

/// The JSON kind of a raw value, for people.
fn kind(raw: &str) -> &'static str {
    match raw.as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

fn chat_pieces(shape: &Shape<'_>, base: Base) -> Result<Vec<Piece>, BodyError> {
    let missing = || BodyError("messages is missing; a chat completion needs them".to_owned());
    let messages = match shape.messages.as_ref().ok_or_else(missing)? {
        List::Items(messages) => messages,
        List::Other(kind) => return Err(BodyError(format!("messages must be an array, got {kind}"))),
    };
    let mut pieces = Vec::new();
    pieces.extend(shape.tools.filter(|raw| raw.get() != "null").map(|raw| Piece::text(base.span(raw.get()))));
    for (i, message) in messages.iter().enumerate() {
        let message = match message {
            Item::Object(message) => message,
            Item::Other(kind) => return Err(BodyError(format!("messages[{i}] must be an object, got {kind}"))),
        };
        pieces.extend(message.role.map(|raw| Piece::text(base.span(raw.get()))));
        if let Some(content) = message.content {
            content_pieces(content, i, base, &mut pieces)?;
        }
        let others = [message.reasoning, message.tool_calls, message.tool_call_id];
        pieces.extend(others.into_iter().flatten().map(|raw| Piece::text(base.span(raw.get()))));
    }
    Ok(pieces)
}

fn content_pieces(content: Raw<'_>, message: usize, base: Base, pieces: &mut Vec<Piece>) -> Result<(), BodyError> {
    let raw = content.get();
    match raw.as_bytes().first() {
        Some(b'"') => pieces.push(Piece::text(base.span(&raw[1..raw.len() - 1]))),
        Some(b'n') => {}
        Some(b'[') => {
            let path = format!("messages[{message}].content");
            let parts = serde_json::from_str(raw).map_err(|error| BodyError(format!("{path}: {error}")))?;
            part_pieces(parts, &path, base, pieces)?;
        }
        _ => {
            let got = kind(raw);
            let path = format!("messages[{message}].content");
            return Err(BodyError(format!("{path} must be a string, null or an array of parts, got {got}")));
        }
    }
    Ok(())
}

fn part_pieces(parts: Parts<'_>, path: &str, base: Base, pieces: &mut Vec<Piece>) -> Result<(), BodyError> {
    let List::Items(parts) = parts else { return Ok(()) };
    for (p, part) in parts.into_iter().enumerate() {
        match part {
            Item::Object(Part { text: Some(text), .. }) => pieces.push(Piece::text(base.span(text.get()))),
            Item::Object(Part { other: Some(other), .. }) => pieces.push(Piece::media(base.span(other.get()))),
            Item::Object(_) => {}
            Item::Other(kind) => return Err(BodyError(format!("{path}[{p}] must be an object, got {kind}"))),
        }
    }
    Ok(())
}

/// `prompt`: a string, strings, token ids, or lists of token ids.
fn text_pieces(shape: &Shape<'_>, base: Base) -> Result<Vec<Piece>, BodyError> {
    let missing = || BodyError("prompt is missing; a completion needs one".to_owned());
    let raw = shape.prompt.filter(|raw| raw.get() != "null").ok_or_else(missing)?.get();
    if raw.starts_with('"') {
        return Ok(vec![Piece::text(base.span(&raw[1..raw.len() - 1]))]);
    }
    let got = |raw: &str| BodyError(format!("prompt must be a string, strings or token ids, got {}", kind(raw)));
    if !raw.starts_with('[') {
        return Err(got(raw));
    }
    let inside = raw[1..].trim_start();
    if inside.starts_with(|c: char| c.is_ascii_digit()) {
        serde_json::from_str::<Vec<u32>>(raw)
            .map_err(|error| BodyError(format!("prompt: {error}; token ids are whole numbers")))?;
        return Ok(vec![Piece::ids(base.span(raw))]);
    }
    let prompts: Vec<Raw<'_>> = serde_json::from_str(raw).unwrap_or_default();
    let piece = |prompt: &Raw<'_>| match prompt.get().as_bytes().first() {
        Some(b'"') => Ok(Piece::text(base.span(&prompt.get()[1..prompt.get().len() - 1]))),
        Some(b'[') if serde_json::from_str::<Vec<u32>>(prompt.get()).is_ok() => Ok(Piece::ids(base.span(prompt.get()))),
        _ => Err(got(prompt.get())),
    };
    prompts.iter().map(piece).collect()
}

// === impl BodyError ===

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BodyError {}

#[cfg(test)]
mod tests;
