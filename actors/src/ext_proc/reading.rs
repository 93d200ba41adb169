//! Where the core's dialects are asked: request bodies on the way in, usage on the way out.
//!
//! Must not know ext-proc messages, and holds no grammar of its own: it only chooses whom to ask.

use std::ops::Range;

use murmuration::config::blueprint::Parser;
use murmuration::dialect::json_answer::JsonReader;
use murmuration::dialect::openai::{Api, RequestBody, read_prompt};
use murmuration::dialect::sse::SseReader;
use murmuration::prefix::{ChainBuilder, Cut};
use murmuration::request::{Prompt, Refusal, RefusalCode, Usage};

use super::settings::Settings;

/// A change of a body: these bytes give way to those.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What goes.
    pub span: Range<usize>,
    /// What comes.
    pub replacement: Vec<u8>,
}

/// What a parser read of a body.
#[derive(Clone, Debug)]
pub(super) struct Parsed {
    pub(super) incoming_model: String,
    pub(super) target_model: String,
    pub(super) edit: Option<Edit>,
    pub(super) prompt: Prompt,
    pub(super) content_hash: u64,
    pub(super) streaming: bool,
    pub(super) max_output_tokens: Option<u64>,
}

/// What one chunk of an answer showed for the first time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The first token, or the first byte of an answer that is not streamed.
    pub(super) first_token: bool,
    /// The engine's own word that the request failed.
    pub(super) error: bool,
}

/// Who reads an answer as it goes by.
#[derive(Debug)]
pub(super) struct AnswerReader {
    dialect: Dialect,
    seen: Seen,
}

#[derive(Debug)]
enum Dialect {
    /// Compressed, or of a type nobody reads.
    Unread,
    Sse(SseReader),
    Json(JsonReader),
}

/// Reads a body by the first parser that claims its path; `None` when that parser, or nobody, reads bodies there.
pub(super) fn read(
    settings: &Settings,
    salt: u128,
    path: &str,
    body: &[u8],
    rewrite: Option<&str>,
) -> Result<Option<Parsed>, Refusal> {
    let claimed = settings.parsers.iter().find_map(|parser| match parser {
        Parser::OpenAi => Api::of_path(path).map(Some),
        Parser::Passthrough => Some(None),
    });
    match claimed.flatten() {
        Some(api) if !body.is_empty() => open_ai(api, settings, salt, body, rewrite).map(Some),
        _ => Ok(None),
    }
}

/// A hash of content that nobody read; every replica computes it alike.
pub(super) fn hash(salt: u128, path: &str, content: &[u8]) -> u64 {
    let cut = Cut { block_tokens: 64, bytes_per_token: 4, blocks_max: 0, tier_salt: salt };
    let mut chain = ChainBuilder::new(cut, path, None);
    chain.push(content);
    chain.finish().1
}

fn open_ai(api: Api, settings: &Settings, salt: u128, body: &[u8], rewrite: Option<&str>) -> Result<Parsed, Refusal> {
    let prefix = &settings.prefix;
    let read =
        RequestBody::read(api, body).map_err(|error| Refusal::new(RefusalCode::BadRequest, error.to_string()))?;
    let incoming = read.model.name.as_str();
    let target = rewrite.unwrap_or(incoming);
    let edit = (target != incoming).then(|| read.model_splice(target));
    let cut = Cut {
        block_tokens: prefix.block_tokens,
        bytes_per_token: prefix.bytes_per_token,
        blocks_max: if prefix.enabled { prefix.blocks_max } else { 0 },
        tier_salt: salt,
    };
    let (prompt, content_hash) = read_prompt(body, &read, target, cut);
    Ok(Parsed {
        incoming_model: incoming.to_owned(),
        target_model: target.to_owned(),
        edit: edit.map(|(span, replacement)| Edit { span, replacement }),
        prompt,
        content_hash,
        streaming: read.stream,
        max_output_tokens: read.max_output_tokens,
    })
}

// === impl AnswerReader ===

impl AnswerReader {
    /// The reader for an answer of this type; what is `encoded` (compressed) can't be read.
    pub(super) fn of(content_type: &str, encoded: bool) -> Self {
        let dialect = match content_type {
            _ if encoded => Dialect::Unread,
            sse if sse.contains("text/event-stream") => Dialect::Sse(SseReader::new()),
            json if json.contains("json") => Dialect::Json(JsonReader::new()),
            _ => Dialect::Unread,
        };
        Self { dialect, seen: Seen::default() }
    }

    /// Shows it the next chunk.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Seen {
        let before = self.seen;
        let (first_token, error) = match &mut self.dialect {
            Dialect::Unread => (!chunk.is_empty(), false),
            Dialect::Sse(reader) => {
                reader.push(chunk);
                (reader.first_token(), reader.error())
            }
            Dialect::Json(reader) => {
                reader.push(chunk);
                (!chunk.is_empty(), reader.error())
            }
        };
        self.seen = Seen { first_token: before.first_token | first_token, error: before.error | error };
        Seen { first_token: first_token & !before.first_token, error: error & !before.error }
    }

    /// What the engine counted, as far as it told.
    pub(super) fn usage(&self) -> Option<Usage> {
        match &self.dialect {
            Dialect::Unread => None,
            Dialect::Sse(reader) => reader.usage(),
            Dialect::Json(reader) => reader.usage(),
        }
    }
}

impl Default for AnswerReader {
    fn default() -> Self {
        Self::of("", false)
    }
}
