//! Turns the fields of a body into its prompt's chain and size, in the order in which a chat template would write them.
//!
//! Must not know JSON beyond the cursor, nor how hashes are made.

use super::content::Contents;
use super::feed::Feed;
use super::fields::{Key, Span};
use super::{Api, BodyError, RequestBody};
use crate::dialect::cursor::{Kind, Token};
use crate::dialect::json_text::plain;
use crate::prefix::BlockSpec;
use crate::request::Prompt;

/// Fields that change the prompt as a whole without being part of its text.
const SETTINGS: [Key; 13] = [
    Key::ChatTemplate,
    Key::ChatTemplateKwargs,
    Key::ReasoningEffort,
    Key::Reasoning,
    Key::Thinking,
    Key::OutputConfig,
    Key::MmProcessorKwargs,
    Key::MediaIoKwargs,
    Key::TruncatePromptTokens,
    Key::TruncationSide,
    Key::PreviousResponseId,
    Key::PreviousInputMessages,
    Key::Features,
];

/// Fields that are prompts or parts of one, in the order in which they are hashed; `messages` come before them.
const PROMPTS: [Key; 16] = [
    Key::Prompt,
    Key::PromptEmbeds,
    Key::Input,
    Key::InputIds,
    Key::TokenIds,
    Key::Tokens,
    Key::Text,
    Key::Text2,
    Key::Data2,
    Key::Items,
    Key::Questions,
    Key::Images,
    Key::Audio,
    Key::Videos,
    Key::MultiModalData,
    Key::ImageData,
];

/// Fields that come before a conversation.
const HEADS: [Key; 6] = [Key::Query, Key::Queries, Key::Text1, Key::Data1, Key::State, Key::Documents];

type Read = Result<(), BodyError>;

/// The prompt of `body` for `model`: its size, its chain, and the hash of all of its content (model, salt and prompt).
/// A list of prompts is chained as one.
///
/// # Errors
/// [`BodyError`] with the field's path, where a chat or completion holds what its API does not have.
pub fn read_prompt(body: &[u8], read: &RequestBody, model: &str, spec: BlockSpec) -> Result<(Prompt, u64), BodyError> {
    let feed = Feed::new(spec, model, read.cache_salt.as_deref());
    let strict = read.api.needs_messages();
    let mut prompt = Reader { contents: Contents { body, feed, strict }, read };
    prompt.settings()?;
    if read.api != Api::Completions {
        prompt.heads()?;
        prompt.messages()?;
    }
    // A chat has no other prompt than its messages.
    for key in PROMPTS.into_iter().filter(|_| !strict) {
        prompt.prompt(key)?;
    }
    Ok(prompt.contents.feed.finish())
}

struct Reader<'a> {
    contents: Contents<'a>,
    read: &'a RequestBody,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// Where a field is, if it is not blank.
    fn get(&self, key: Key) -> Option<&'a Span> {
        self.read.fields.get(key).filter(|span| !self.contents.is_blank(span))
    }

    fn raw(&self, span: &Span) -> &'a [u8] {
        self.contents.body.get(span.clone()).unwrap_or_default()
    }

    fn settings(&mut self) -> Read {
        let mut digest = self.contents.feed.digest();
        // The default where the field is missing: chats add no special tokens to what their template wrote, prompts do.
        let implied: &[u8] = if self.get(Key::Messages).is_some() { b"false" } else { b"true" };
        let special = self.get(Key::AddSpecialTokens).filter(|span| self.raw(span) != implied);
        let settings = SETTINGS.iter().filter_map(|&key| Some((key, self.get(key)?)));
        for (key, span) in settings.chain(special.map(|span| (Key::AddSpecialTokens, span))) {
            digest.name(key.name());
            self.contents.cursor(span).walk(|token| digest.token(token))?;
        }
        self.contents.feed.settings(digest);
        Ok(())
    }

    fn heads(&mut self) -> Read {
        for key in [Key::System, Key::Instructions] {
            if let Some(span) = self.get(key) {
                self.contents.message_of("system", span)?;
            }
        }
        for key in [Key::Tools, Key::Functions] {
            let Some(span) = self.get(key) else { continue };
            self.contents.feed.token(Token::Key(key.name().as_bytes()));
            // An engine may be configured to leave out tools that must not be used.
            if self.get(Key::ToolChoice).is_some_and(|span| &*plain(self.raw(span)) == br#""none""#) {
                self.contents.feed.token(Token::Scalar(b"none"));
            }
            self.contents.objects(span)?;
        }
        for key in HEADS {
            let Some(span) = self.get(key) else { continue };
            self.contents.field(key.name().as_bytes(), span)?;
        }
        Ok(())
    }

    fn messages(&mut self) -> Read {
        let name = Key::Messages.name();
        match self.read.fields.get(Key::Messages) {
            None if self.read.api.needs_messages() => {
                Err(BodyError::new("messages is missing; a chat completion needs them".to_owned()))
            }
            None => Ok(()),
            Some(span) if self.read.api == Api::ChatBatch => self.contents.conversations(span, name),
            Some(span) if self.read.api.needs_messages() || !self.contents.is_blank(span) => {
                self.contents.messages(span, name)
            }
            Some(_) => Ok(()),
        }
    }

    /// A string, strings, token ids, lists of token ids, or items of a conversation.
    fn prompt(&mut self, key: Key) -> Read {
        let Some(span) = self.get(key) else { return Ok(()) };
        let kind = self.contents.cursor(span).kind()?;
        let only_text = key == Key::Prompt && self.read.api == Api::Completions;
        match (key, kind) {
            (Key::PromptEmbeds, _) => self.contents.media(span),
            (Key::Images | Key::Audio | Key::Videos | Key::MultiModalData | Key::ImageData, _) => {
                self.contents.media(span)
            }
            // Of the responses API this is the format of the answer.
            (Key::Text, Kind::Object) => Ok(()),
            (Key::Input, Kind::String) if self.read.api == Api::Responses => self.contents.message_of("user", span),
            (_, Kind::String) => self.contents.text(span),
            (_, Kind::Array) => self.list(span, only_text),
            (_, kind) if only_text => {
                let sentence = format!("prompt must be a string, strings or token ids, got {kind}");
                Err(BodyError::new(sentence))
            }
            _ => self.contents.field(key.name().as_bytes(), span),
        }
    }

    fn list(&mut self, span: &Span, only_text: bool) -> Read {
        let mut cursor = self.contents.cursor(span);
        cursor.open(b'[')?;
        let (mut first, mut in_ids) = (true, false);
        while cursor.item(&mut first)? {
            let kind = cursor.kind()?;
            let item = cursor.skip()?;
            match kind {
                Kind::Number => {
                    if !std::mem::replace(&mut in_ids, true) {
                        self.contents.feed.begin_ids();
                    }
                    self.id(&item, only_text)?;
                }
                Kind::String if !in_ids => self.contents.text(&item)?,
                Kind::Array if !in_ids => self.ids(&item, only_text)?,
                Kind::Object if !only_text => self.item(&item)?,
                kind if only_text && in_ids => {
                    return Err(BodyError::new(format!(
                        "prompt: got {kind} among token ids; token ids are whole numbers"
                    )));
                }
                kind if only_text => {
                    let sentence = format!("prompt must be a string, strings or token ids, got {kind}");
                    return Err(BodyError::new(sentence));
                }
                _ => self.contents.json(&item)?,
            }
        }
        Ok(())
    }

    /// A message, or another item of the responses API.
    fn item(&mut self, span: &Span) -> Read {
        let mut cursor = self.contents.cursor(span);
        let (mut first, mut has_role) = (true, false);
        cursor.open(b'{')?;
        while let Some(key) = cursor.key(&mut first)? {
            has_role |= &*plain(key) == b"role";
            cursor.skip()?;
        }
        match has_role {
            true => self.contents.message(span, &|| "input".to_owned()),
            false => self.contents.part(span, 0),
        }
    }

    fn ids(&mut self, span: &Span, only_text: bool) -> Read {
        let mut cursor = self.contents.cursor(span);
        cursor.open(b'[')?;
        self.contents.feed.begin_ids();
        let mut first = true;
        while cursor.item(&mut first)? {
            let kind = cursor.kind()?;
            let item = cursor.skip()?;
            match kind {
                Kind::Number => self.id(&item, only_text)?,
                kind if only_text => {
                    let sentence = format!("prompt must be a string, strings or token ids, got {kind} in a list");
                    return Err(BodyError::new(sentence));
                }
                _ => self.contents.json(&item)?,
            }
        }
        Ok(())
    }

    fn id(&mut self, span: &Span, only_text: bool) -> Read {
        let raw = self.raw(span);
        match token_id(raw) {
            Some(id) => self.contents.feed.id(id),
            None if only_text => {
                let got = String::from_utf8_lossy(raw.get(..20).unwrap_or(raw)).into_owned();
                return Err(BodyError::new(format!("prompt: {got} is no token id; token ids are whole numbers")));
            }
            None => self.contents.feed.token(Token::Scalar(raw)),
        }
        Ok(())
    }
}

/// A number as a token id; a fraction of zero is accepted, as engines do.
fn token_id(raw: &[u8]) -> Option<u32> {
    if raw.iter().all(u8::is_ascii_digit) {
        return Some(raw.iter().fold(0, |id: u32, digit| id.wrapping_mul(10).wrapping_add(u32::from(digit - b'0'))));
    }
    let number: f64 = std::str::from_utf8(raw).ok()?.parse().ok()?;
    (number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number)).then_some(number as u32)
}
