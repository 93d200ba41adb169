//! Calls the core's dialects: for request bodies on the way in, for usage on the way out.
//!
//! Must not know ext-proc messages. It has no grammar of its own: it only selects the parser.

use std::ops::Range;

use murmuration::config::blueprint::Parser;
use murmuration::dialect::json_answer::JsonReader;
use murmuration::dialect::openai::{Api, RequestBody, read_prompt};
use murmuration::dialect::sse::SseReader;
use murmuration::prefix::{BlockSpec, ChainBuilder};
use murmuration::request::{Prompt, Refusal, RefusalCode, Usage};
use xxhash_rust::xxh3::xxh3_64;

use super::settings::Settings;

/// A change of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The bytes to remove.
    pub span: Range<usize>,
    /// The bytes to put there.
    pub replacement: Vec<u8>,
}

/// What a parser read from a body.
#[derive(Clone, Debug)]
pub(super) struct Parsed {
    pub(super) incoming_model: String,
    pub(super) target_model: String,
    /// The rule that replaced the model.
    pub(super) rewritten_by: Option<String>,
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
    /// The engine reported that the request failed.
    pub(super) error: bool,
}

/// Reads an answer as it passes.
#[derive(Debug)]
pub(super) struct AnswerReader {
    dialect: Dialect,
    seen: Seen,
}

#[derive(Debug)]
enum Dialect {
    /// Compressed, or of a type that no reader knows.
    Unread,
    Sse(SseReader),
    Json(JsonReader),
}

/// A body and what its request's headers say about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unread<'a> {
    /// The salt of its hashes.
    pub(super) salt: u128,
    pub(super) path: &'a str,
    /// `content-encoding`, where it is named.
    pub(super) encoding: Option<&'a str>,
    pub(super) body: &'a [u8],
    /// The model to request from the engine instead of the body's.
    pub(super) rewrite: Option<&'a str>,
}

/// Reads a body by the first parser that claims its path; `None` if no parser reads bodies there. On a path of no known
/// API, only JSON that names a model is read. On a path of [`Api::Other`], a body that is no JSON is not read.
///
/// A compressed body is not read. A rewrite of a body that can't be read is refused, because the body would go on with
/// the wrong model.
pub(super) fn read(settings: &Settings, unread: Unread<'_>) -> Result<Option<Parsed>, Refusal> {
    let refuse = |sentence: String| Err(Refusal::new(RefusalCode::BadRequest, sentence));
    let open_ai = settings.parsers.first() == Some(&Parser::OpenAi);
    if !open_ai || unread.body.is_empty() {
        return Ok(None);
    }
    let known = Api::of_path(unread.path);
    if settings.rewrites.is_none() && unread.rewrite.is_none() {
        // It would go on with a model that a rule may replace.
        return Err(Refusal::new(RefusalCode::NoEndpoints, "this replica does not know its pool yet; try again"));
    }
    if let Some(encoding) = unread.encoding.filter(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        // vLLM reads a body whatever this header says, so it must not switch rules off.
        let has_rules = known.is_some() && settings.rewrites.as_ref().is_some_and(|rules| !rules.is_empty());
        if unread.rewrite.is_none() && !has_rules {
            return Ok(None);
        }
        return refuse(format!(
            "the body is compressed (content-encoding: {}), so its model can't be rewritten; send it uncompressed",
            encoding.get(..32).unwrap_or(encoding)
        ));
    }
    match RequestBody::read(known.unwrap_or(Api::Other), unread.body) {
        Ok(read) if known.is_none() && !read.names_model => Ok(None),
        Ok(read) => parsed(settings, unread, &read).map(Some),
        Err(error) if error.is_no_json() && known.is_none_or(|api| api == Api::Other) => match unread.rewrite {
            None => Ok(None),
            Some(_) => refuse(format!("{error}, so its model can't be rewritten; send JSON, or leave the rewrite out")),
        },
        // On an unknown path `model` may be anything.
        Err(_) if known.is_none() && unread.rewrite.is_none() => Ok(None),
        Err(error) => refuse(error.to_string()),
    }
}

/// A hash of content that no parser read. Every replica computes the same value.
pub(super) fn hash(salt: u128, path: &str, content: &[u8]) -> u64 {
    let spec = BlockSpec { block_tokens: 64, bytes_per_token: 4, blocks_max: 0, tier_salt: salt };
    let mut chain = ChainBuilder::new(spec, path, None);
    chain.push(content);
    chain.finish().1
}

fn parsed(settings: &Settings, unread: Unread<'_>, read: &RequestBody) -> Result<Parsed, Refusal> {
    let prefix = &settings.prefix;
    let incoming = read.model.name.as_str();
    let rules = settings.rewrites.as_deref().filter(|_| unread.rewrite.is_none());
    let rule = rules.and_then(|rules| rules.target(incoming, || xxh3_64(unread.body)));
    let target = unread.rewrite.or(rule.map(|(_, target)| target)).unwrap_or(incoming);
    let edit = (target != incoming).then(|| read.model_splice(target));
    let spec = BlockSpec {
        block_tokens: prefix.block_tokens,
        bytes_per_token: prefix.bytes_per_token,
        blocks_max: if prefix.enabled { prefix.blocks_max } else { 0 },
        tier_salt: unread.salt,
    };
    let (prompt, content_hash) = read_prompt(unread.body, read, target, spec)
        .map_err(|error| Refusal::new(RefusalCode::BadRequest, error.to_string()))?;
    Ok(Parsed {
        incoming_model: incoming.to_owned(),
        target_model: target.to_owned(),
        rewritten_by: rule.map(|(name, _)| name.to_owned()),
        edit: edit.map(|(span, replacement)| Edit { span, replacement }),
        prompt,
        content_hash,
        streaming: read.stream,
        max_output_tokens: read.max_output_tokens,
    })
}

/// Whether answers of this content type are event streams; the case of a media type does not matter.
pub(super) fn is_event_stream(content_type: &str) -> bool {
    media_type(content_type).eq_ignore_ascii_case("text/event-stream")
}

/// `application/json`, and those that are built on it (`application/problem+json`).
fn is_json(content_type: &str) -> bool {
    let ending = media_type(content_type).rsplit(['/', '+']).next().unwrap_or_default();
    ending.eq_ignore_ascii_case("json")
}

fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

// === impl AnswerReader ===

impl AnswerReader {
    /// The reader for an answer of this type; an `encoded` (compressed) answer can't be read.
    pub(super) fn of(content_type: &str, encoded: bool) -> Self {
        let dialect = match content_type {
            _ if encoded => Dialect::Unread,
            sse if is_event_stream(sse) => Dialect::Sse(SseReader::new()),
            json if is_json(json) => Dialect::Json(JsonReader::new()),
            _ => Dialect::Unread,
        };
        Self { dialect, seen: Seen::default() }
    }

    /// Reads the next chunk.
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

    /// The usage that the engine reported.
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

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;
