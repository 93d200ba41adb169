//! Messages and their content, as a chat template would see them.
//!
//! A text hashes alike as a string, as a list with one part, and as a part of any API's text type. An unknown field may
//! be read by the template, so it counts. A blank value (null, empty) counts as absent.
//!
//! Must not know top-level fields.

use super::BodyError;
use super::feed::{Feed, Tag};
use super::fields::Span;
use std::borrow::Cow;

use crate::dialect::cursor::{Cursor, Kind, Misread, Token};
use crate::dialect::json_text::plain;

/// Levels of contents within contents (such as parts of a tool's result) that are followed; deeper ones are hashed as
/// JSON.
const NESTED_MAX: u32 = 4;
/// Hints to a provider's cache, which move from message to message and are not part of the prompt.
const NOT_READ: [&[u8]; 2] = [b"cache_control", b"prompt_cache_breakpoint"];
/// Parts of a type that contains one of these are media.
const MEDIA: [&[u8]; 5] = [b"image", b"audio", b"video", b"file", b"embeds"];

/// Reads spans of a body into a feed.
#[derive(Debug)]
pub(super) struct Contents<'a> {
    pub(super) body: &'a [u8],
    pub(super) feed: Feed,
    /// Whether kinds that the chat API does not have are errors.
    pub(super) strict: bool,
}

/// The fields of a message that are hashed in this order, whatever order they are written in.
#[derive(Default)]
struct Message {
    role: Option<Span>,
    content: Option<Span>,
    named: [Option<Span>; NAMED.len()],
    others: bool,
}

const NAMED: [&[u8]; 4] = [b"name", b"reasoning", b"tool_calls", b"tool_call_id"];

type Read = Result<(), BodyError>;

impl From<Misread> for BodyError {
    fn from(misread: Misread) -> Self {
        Self::new(format!("the body: {misread}"))
    }
}

// === impl Contents ===

impl<'a> Contents<'a> {
    pub(super) fn cursor(&self, span: &Span) -> Cursor<'a> {
        Cursor::within(self.body, span)
    }

    /// Whether a value is blank: null, an empty string, list or object.
    pub(super) fn is_blank(&self, span: &Span) -> bool {
        let text = self.body.get(span.clone()).unwrap_or_default();
        match text {
            b"null" | b"\"\"" => true,
            [b'[' | b'{', inside @ .., _] => inside.trim_ascii().is_empty(),
            _ => false,
        }
    }

    /// A list of messages, or of conversations.
    pub(super) fn messages(&mut self, span: &Span, name: &str) -> Read {
        let mut cursor = self.cursor(span);
        let kind = cursor.kind()?;
        if kind != Kind::Array {
            return self.misfit(span, || format!("{name} must be an array, got {kind}"));
        }
        cursor.open(b'[')?;
        let (mut first, mut index) = (true, 0usize);
        while cursor.item(&mut first)? {
            match cursor.kind()? {
                Kind::Object => self.message_at(&mut cursor, &|| format!("{name}[{index}]"))?,
                kind => {
                    let item = cursor.skip()?;
                    self.misfit(&item, || format!("{name}[{index}] must be an object, got {kind}"))?;
                }
            }
            index += 1;
        }
        Ok(())
    }

    /// `messages` of a batch: each item is a conversation.
    pub(super) fn conversations(&mut self, span: &Span, name: &str) -> Read {
        let mut cursor = self.cursor(span);
        let kind = cursor.kind()?;
        if kind != Kind::Array {
            return self.misfit(span, || format!("{name} must be an array, got {kind}"));
        }
        cursor.open(b'[')?;
        let (mut first, mut index) = (true, 0usize);
        while cursor.item(&mut first)? {
            let kind = cursor.kind()?;
            let item = cursor.skip()?;
            match kind {
                Kind::Array => self.messages(&item, &format!("{name}[{index}]"))?,
                // A batch of one may come as the conversation itself.
                Kind::Object => self.message(&item, &|| format!("{name}[{index}]"))?,
                kind => self.misfit(&item, || format!("{name}[{index}] must be an array, got {kind}"))?,
            }
            index += 1;
        }
        Ok(())
    }

    /// A message that has a field of its own: `system`, `instructions`.
    pub(super) fn message_of(&mut self, role: &str, span: &Span) -> Read {
        if self.is_blank(span) {
            return Ok(());
        }
        self.feed.tag(Tag::Message);
        self.feed.text(role.as_bytes());
        self.content(span, &|| role.to_owned(), 0)
    }

    pub(super) fn message(&mut self, span: &Span, path: &dyn Fn() -> String) -> Read {
        self.message_at(&mut self.cursor(span), path)
    }

    /// Reads the message that comes next.
    fn message_at(&mut self, cursor: &mut Cursor<'a>, path: &dyn Fn() -> String) -> Read {
        let start = cursor.at();
        let message = self.message_fields(cursor)?;
        self.feed.tag(Tag::Message);
        if let Some(role) = &message.role {
            self.string_or_json(role)?;
        }
        if let Some(content) = &message.content {
            self.content(content, &|| format!("{}.content", path()), 0)?;
        }
        for (name, span) in NAMED.iter().zip(&message.named) {
            if let Some(span) = span {
                self.field(name, span)?;
            }
        }
        if message.others {
            self.other_fields(&(start..cursor.at()), is_known)?;
        }
        Ok(())
    }

    fn message_fields(&self, cursor: &mut Cursor<'_>) -> Result<Message, BodyError> {
        let (mut first, mut read) = (true, Message::default());
        cursor.open(b'{')?;
        while let Some(key) = cursor.key(&mut first)? {
            let (key, value) = (plain(key), cursor.skip()?);
            match &*key {
                b"role" => read.role = Some(value),
                b"content" => read.content = Some(value),
                _ if self.is_blank(&value) => {}
                b"name" => read.named[0] = Some(value),
                b"reasoning" | b"reasoning_content" => read.named[1] = Some(value),
                b"tool_calls" => read.named[2] = Some(value),
                b"tool_call_id" => read.named[3] = Some(value),
                key => read.others |= !NOT_READ.contains(&key),
            }
        }
        Ok(read)
    }

    /// A content: a text, or parts.
    pub(super) fn content(&mut self, span: &Span, path: &dyn Fn() -> String, nested: u32) -> Read {
        if self.is_blank(span) {
            return Ok(());
        }
        let mut cursor = self.cursor(span);
        match cursor.kind()? {
            Kind::String => self.text(span)?,
            Kind::Array => {
                cursor.open(b'[')?;
                let (mut first, mut index) = (true, 0usize);
                while cursor.item(&mut first)? {
                    let kind = cursor.kind()?;
                    let item = cursor.skip()?;
                    match kind {
                        Kind::String => self.text(&item)?,
                        Kind::Object => self.part(&item, nested)?,
                        kind => self.misfit(&item, || {
                            format!("{}[{index}] must be an object, got {kind}; a part may be a string too", path())
                        })?,
                    }
                    index += 1;
                }
            }
            Kind::Object if !self.strict => self.part(span, nested)?,
            kind => {
                self.misfit(span, || format!("{} must be a string, null or an array of parts, got {kind}", path()))?
            }
        }
        Ok(())
    }

    /// One part of a content, or one item of an input.
    pub(super) fn part(&mut self, span: &Span, nested: u32) -> Read {
        let (mut cursor, mut first) = (self.cursor(span), true);
        let (mut kind, mut text, mut others, mut media) = (Cow::Borrowed(&b""[..]), None, false, false);
        cursor.open(b'{')?;
        while let Some(key) = cursor.key(&mut first)? {
            let value_kind = cursor.kind()?;
            let (key, value) = (plain(key), cursor.skip()?);
            match &*key {
                b"type" if value_kind == Kind::String => kind = plain(self.cursor(&value).string()?),
                b"text" if value_kind == Kind::String => text = Some(value),
                _ if self.is_blank(&value) || NOT_READ.contains(&&*key) => {}
                key => {
                    others = true;
                    media |= MEDIA.iter().any(|name| memchr::memmem::find(key, name).is_some());
                }
            }
        }
        let is_text = matches!(&*kind, b"" | b"text" | b"input_text" | b"output_text");
        media =
            if kind.is_empty() { media } else { MEDIA.iter().any(|name| memchr::memmem::find(&kind, name).is_some()) };
        match text {
            Some(text) if is_text && !others => self.text(&text),
            _ if media => self.media(span),
            _ => {
                self.feed.token(Token::Open(b'{'));
                self.fields(span, nested)?;
                self.feed.token(Token::Close(b'}'));
                Ok(())
            }
        }
    }

    /// All of an object's fields except [`NOT_READ`]; a field `content` may hold parts again.
    fn fields(&mut self, span: &Span, nested: u32) -> Read {
        let (mut cursor, mut first) = (self.cursor(span), true);
        cursor.open(b'{')?;
        while let Some(key) = cursor.key(&mut first)? {
            let (name, value) = (plain(key), cursor.skip()?);
            if NOT_READ.contains(&&*name) {
                continue;
            }
            self.feed.token(Token::Key(key));
            if &*name == b"content" && nested < NESTED_MAX {
                let strict = std::mem::replace(&mut self.strict, false);
                let read = self.content(&value, &String::new, nested + 1);
                self.strict = strict;
                read?;
            } else {
                self.json(&value)?;
            }
        }
        Ok(())
    }

    /// Objects of a list without their [`NOT_READ`] fields: `tools`.
    pub(super) fn objects(&mut self, span: &Span) -> Read {
        let mut cursor = self.cursor(span);
        if cursor.kind()? != Kind::Array {
            return self.json(span);
        }
        cursor.open(b'[')?;
        let mut first = true;
        while cursor.item(&mut first)? {
            let kind = cursor.kind()?;
            let item = cursor.skip()?;
            match kind {
                Kind::Object => {
                    self.feed.token(Token::Open(b'{'));
                    self.other_fields(&item, |key| NOT_READ.contains(&key))?;
                    self.feed.token(Token::Close(b'}'));
                }
                _ => self.json(&item)?,
            }
        }
        Ok(())
    }

    /// The fields of an object that are neither blank nor `known`.
    fn other_fields(&mut self, span: &Span, known: impl Fn(&[u8]) -> bool) -> Read {
        let (mut cursor, mut first) = (self.cursor(span), true);
        cursor.open(b'{')?;
        while let Some(key) = cursor.key(&mut first)? {
            let value = cursor.skip()?;
            if !known(&plain(key)) && !self.is_blank(&value) {
                self.field(key, &value)?;
            }
        }
        Ok(())
    }

    pub(super) fn field(&mut self, name: &[u8], span: &Span) -> Read {
        self.feed.token(Token::Key(name));
        self.json(span)
    }

    /// The string that is the whole of `span`.
    pub(super) fn text(&mut self, span: &Span) -> Read {
        self.feed.tag(Tag::Text);
        self.feed.text(self.body.get(span.start + 1..span.end.saturating_sub(1)).unwrap_or_default());
        Ok(())
    }

    pub(super) fn json(&mut self, span: &Span) -> Read {
        let (mut cursor, feed) = (self.cursor(span), &mut self.feed);
        cursor.walk(|token| feed.token(token))?;
        Ok(())
    }

    pub(super) fn media(&mut self, span: &Span) -> Read {
        let mut digest = self.feed.digest();
        self.cursor(span).walk(|token| digest.token(token))?;
        self.feed.media(digest);
        Ok(())
    }

    fn string_or_json(&mut self, span: &Span) -> Read {
        let mut cursor = self.cursor(span);
        match cursor.kind()? {
            Kind::String => self.feed.text(cursor.string()?),
            _ => self.json(span)?,
        }
        Ok(())
    }

    /// A value of a kind that the API does not have: an error where the API is strict, else hashed as JSON.
    pub(super) fn misfit(&mut self, span: &Span, sentence: impl FnOnce() -> String) -> Read {
        match self.strict {
            true => Err(BodyError::new(sentence())),
            false => self.json(span),
        }
    }
}

fn is_known(key: &[u8]) -> bool {
    let named = NAMED.contains(&key) || key == b"reasoning_content";
    named || matches!(key, b"role" | b"content") || NOT_READ.contains(&key)
}
