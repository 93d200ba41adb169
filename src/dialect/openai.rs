//! JSON request bodies of OpenAI's, Anthropic's and vLLM's own APIs: model, options and prompt, without building a
//! tree.
//!
//! One pass checks the text and notes where the top-level fields are; a second one hashes the prompt from there. A body
//! is never rewritten: the engine gets it byte for byte, except for a model name that is spliced in.
//!
//! Must not know callers or decisions.

mod api;
mod content;
mod feed;
mod fields;
mod prompt;

use std::fmt;
use std::ops::Range;

pub use api::Api;
pub use prompt::read_prompt;

use crate::dialect::cursor::{Cursor, Kind};
use crate::dialect::json_text::decoded;
use fields::{Fields, Key, Span, Unreadable};

/// The longest model name that is accepted, in bytes.
pub const MODEL_BYTES_MAX: usize = 256;

/// Bytes of the longest spelling of a name of [`MODEL_BYTES_MAX`] bytes: each is escaped as `\u00xx`, within quotes.
const MODEL_RAW_MAX: usize = 6 * MODEL_BYTES_MAX + 2;

/// The byte order mark that some clients put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The model field of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelField {
    /// The name, unescaped; empty where there is none, which asks for the engine's only model.
    pub name: String,
    /// The value in the body, quotes included. Where the field is missing, an empty span at the place for it.
    pub span: Range<usize>,
}

/// What was read from a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestBody {
    /// The model.
    pub model: ModelField,
    /// Whether the body has the field `model`, even if it is null.
    pub names_model: bool,
    /// `stream`
    pub stream: bool,
    /// `max_completion_tokens`, `max_output_tokens` or `max_tokens`: the first of them that is a whole number.
    pub max_output_tokens: Option<u64>,
    /// `cache_salt`: prompts with different salts share no cache.
    pub cache_salt: Option<String>,
    api: Api,
    fields: Fields,
}

/// Why a body can't be read: where, what, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyError {
    sentence: String,
    no_json: bool,
}

// === impl RequestBody ===

impl RequestBody {
    /// Reads `body`.
    ///
    /// # Errors
    /// [`BodyError`] with the field's path, when the body isn't JSON or isn't what the API asks for.
    pub fn read(api: Api, body: &[u8]) -> Result<Self, BodyError> {
        if let Err(error) = std::str::from_utf8(body) {
            return Err(not_text(body, error.valid_up_to()));
        }
        let from = if body.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let fields = Fields::read(body, from).map_err(|error| match error {
            Unreadable::Json(misread) => BodyError::no_json(format!("the body: {misread}")),
            Unreadable::NoObject(kind) => {
                BodyError::no_json(format!("the body: expected a JSON object with a model, got {kind}"))
            }
        })?;
        let limits = [Key::MaxCompletionTokens, Key::MaxOutputTokens, Key::MaxTokens];
        let limit = limits.into_iter().find_map(|key| whole_number(slice(body, fields.get(key)?)));
        Ok(Self {
            model: model(body, &fields)?,
            names_model: fields.get(Key::Model).is_some(),
            stream: fields.get(Key::Stream).is_some_and(|span| slice(body, span) == b"true"),
            max_output_tokens: limit,
            cache_salt: string(body, &fields, Key::CacheSalt)?,
            api,
            fields,
        })
    }

    /// What replaces [`ModelField::span`] to request `model` from the engine. A body without the field gets it as its
    /// first one.
    pub fn model_splice(&self, model: &str) -> (Range<usize>, Vec<u8>) {
        let quoted = serde_json::Value::from(model).to_string();
        let text = match (self.names_model, self.fields.empty) {
            (true, _) => quoted,
            (false, true) => format!("\"model\":{quoted}"),
            (false, false) => format!("\"model\":{quoted},"),
        };
        (self.model.span.clone(), text.into_bytes())
    }
}

fn slice<'a>(body: &'a [u8], span: &Span) -> &'a [u8] {
    body.get(span.clone()).unwrap_or_default()
}

/// The model's name. Null, an empty string and a missing field leave it to the engine, as vLLM's API allows.
fn model(body: &[u8], fields: &Fields) -> Result<ModelField, BodyError> {
    let Some(span) = fields.get(Key::Model) else {
        return Ok(ModelField { name: String::new(), span: fields.inside..fields.inside });
    };
    let too_long = |bytes: usize| {
        BodyError::new(format!(
            "model is a name of {bytes} bytes; at most {MODEL_BYTES_MAX} are taken, check what was sent"
        ))
    };
    if slice(body, span).first() == Some(&b'"') && span.len() > MODEL_RAW_MAX {
        return Err(too_long(span.len() - 2));
    }
    let name = string(body, fields, Key::Model)?.unwrap_or_default();
    if name.len() > MODEL_BYTES_MAX {
        return Err(too_long(name.len()));
    }
    Ok(ModelField { name, span: span.clone() })
}

fn string(body: &[u8], fields: &Fields, key: Key) -> Result<Option<String>, BodyError> {
    let Some(span) = fields.get(key) else { return Ok(None) };
    let mut cursor = Cursor::within(body, span);
    match cursor.kind() {
        Ok(Kind::Null) => Ok(None),
        Ok(Kind::String) => Ok(cursor.string().ok().map(|raw| decoded(raw).into_owned())),
        Ok(kind) => Err(BodyError::new(format!("{} must be a string, got {kind}", key.name()))),
        Err(misread) => Err(BodyError::new(format!("{}: {misread}", key.name()))),
    }
}

fn whole_number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The error for bytes that are not UTF-8, usually because of compression or UTF-16.
fn not_text(body: &[u8], at: usize) -> BodyError {
    let fix = match body {
        [0x1f, 0x8b, ..] => "; it looks like gzip: declare it with content-encoding, or send it uncompressed",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            "; it looks like zstd: declare it with content-encoding, or send it uncompressed"
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "; it looks like UTF-16: send UTF-8",
        _ => "; JSON is sent as UTF-8",
    };
    BodyError::no_json(format!("the body is not UTF-8 at byte {at}{fix}"))
}

// === impl BodyError ===

impl BodyError {
    fn new(sentence: String) -> Self {
        Self { sentence, no_json: false }
    }

    fn no_json(sentence: String) -> Self {
        Self { sentence, no_json: true }
    }

    /// Whether the body is no JSON object at all.
    pub fn is_no_json(&self) -> bool {
        self.no_json
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for BodyError {}

#[cfg(test)]
mod tests;
