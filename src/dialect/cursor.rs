//! A cursor over JSON text: finds keys, values and their spans without building a tree.
//!
//! It accepts what Python's `json` accepts, because engines read bodies with it: `NaN`, `Infinity`, lone surrogates,
//! repeated keys. Memory is constant, whatever is read; nesting is bounded by [`DEPTH_MAX`].
//!
//! Must not know what any key means.

mod brackets;

use std::fmt;
use std::ops::Range;

use memchr::{memchr, memchr2};

use brackets::Brackets;

pub use brackets::DEPTH_MAX;

/// A place in JSON text.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    /// The text was read before, so its escapes are known to be valid.
    known: bool,
}

/// Why the text is not JSON: what is wrong, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misread {
    /// What is wrong.
    pub what: &'static str,
    /// Offset of the byte where it was noticed.
    pub at: usize,
}

/// The kind of a value, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{...}`
    Object,
    /// `[...]`
    Array,
    /// `"..."`
    String,
    /// `true` or `false`
    Boolean,
    /// `null`
    Null,
    /// A number, `NaN` and infinities included.
    Number,
}

/// One token of a value, in the order of the text. Strings are raw: without their quotes, escapes not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// `{` or `[`
    Open(u8),
    /// `}` or `]`
    Close(u8),
    /// A key of an object.
    Key(&'a [u8]),
    /// A string.
    String(&'a [u8]),
    /// A number, boolean or null.
    Scalar(&'a [u8]),
}

type Read<T> = Result<T, Misread>;

// === impl Cursor ===

impl<'a> Cursor<'a> {
    /// A cursor at the start of `text`.
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, known: false }
    }

    /// A cursor at the byte `at` of `text`.
    pub fn at_offset(text: &'a [u8], at: usize) -> Self {
        Self { text, at: at.min(text.len()), known: false }
    }

    /// A cursor at `span.start` that ends at `span.end`, where a value was found before; it does not check escapes
    /// again. A span outside of the text is empty.
    pub fn within(text: &'a [u8], span: &Range<usize>) -> Self {
        let text = text.get(..span.end).unwrap_or_default();
        Self { text, at: span.start.min(text.len()), known: true }
    }

    /// The offset of the next byte.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The bytes of `span`.
    pub fn slice(&self, span: &Range<usize>) -> &'a [u8] {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// The kind of the value that comes next.
    ///
    /// # Errors
    /// [`Misread`] where no value can begin.
    pub fn kind(&mut self) -> Read<Kind> {
        match self.peek() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b't' | b'f') => Ok(Kind::Boolean),
            Some(b'n') => Ok(Kind::Null),
            Some(b'-' | b'0'..=b'9' | b'N' | b'I') => Ok(Kind::Number),
            _ => Err(self.wrong("expected a value")),
        }
    }

    /// Takes `bracket`, which opens an object or array.
    ///
    /// # Errors
    /// [`Misread`] where something else comes next.
    pub fn open(&mut self, bracket: u8) -> Read<()> {
        self.expect(bracket, if bracket == b'{' { "expected an object" } else { "expected an array" })
    }

    /// The next key of the object that is open, raw; the cursor then stands before its value. `None` at the object's
    /// end, which is taken. `first` is true until the first call.
    ///
    /// # Errors
    /// [`Misread`] where neither comes next.
    pub fn key(&mut self, first: &mut bool) -> Read<Option<&'a [u8]>> {
        if !self.more(b'}', first)? {
            return Ok(None);
        }
        if self.peek() != Some(b'"') {
            return Err(self.wrong("expected a key"));
        }
        let key = self.string()?;
        self.expect(b':', "expected `:`")?;
        Ok(Some(key))
    }

    /// Whether another item of the array that is open comes next; its end is taken. `first` is true until the first
    /// call.
    ///
    /// # Errors
    /// [`Misread`] where neither comes next.
    pub fn item(&mut self, first: &mut bool) -> Read<bool> {
        self.more(b']', first)
    }

    /// Takes a string and returns what is between its quotes, raw.
    ///
    /// # Errors
    /// [`Misread`] where there is none, or an escape that JSON does not know.
    pub fn string(&mut self) -> Read<&'a [u8]> {
        self.expect(b'"', "expected a string")?;
        let start = self.at;
        if self.known {
            return self.known_string(start);
        }
        loop {
            let Some(next) = memchr2(b'"', b'\\', &self.text[self.at..]) else {
                self.at = self.text.len();
                return Err(self.wrong("a string without end"));
            };
            self.at += next + 1;
            if self.text[self.at - 1] == b'"' {
                return Ok(&self.text[start..self.at - 1]);
            }
            let hex = |digits: &[u8]| digits.len() == 4 && digits.iter().all(u8::is_ascii_hexdigit);
            match self.text.get(self.at) {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
                Some(b'u') if self.text.get(self.at + 1..self.at + 5).is_some_and(hex) => self.at += 5,
                _ => return Err(self.wrong("an escape that JSON does not know")),
            }
        }
    }

    /// A string from `start` on, up to the first quote that no backslash escapes.
    fn known_string(&mut self, start: usize) -> Read<&'a [u8]> {
        while let Some(next) = memchr(b'"', &self.text[self.at..]) {
            let end = self.at + next;
            self.at = end + 1;
            let backslashes = self.text[start..end].iter().rev().take_while(|byte| **byte == b'\\').count();
            if backslashes % 2 == 0 {
                return Ok(&self.text[start..end]);
            }
        }
        self.at = self.text.len();
        Err(self.wrong("a string without end"))
    }

    /// Skips one value and returns its span.
    ///
    /// # Errors
    /// [`Misread`] where the text is not JSON.
    pub fn skip(&mut self) -> Read<Range<usize>> {
        self.walk(|_| {})
    }

    /// Skips one value, passes each of its tokens to `see`, and returns its span.
    ///
    /// # Errors
    /// [`Misread`] where the text is not JSON.
    pub fn walk(&mut self, mut see: impl FnMut(Token<'a>)) -> Read<Range<usize>> {
        let kind = self.kind()?;
        let start = self.at;
        // Most values are neither arrays nor objects, and need no account of brackets.
        match kind {
            Kind::String => see(Token::String(self.string()?)),
            Kind::Number | Kind::Boolean | Kind::Null => see(Token::Scalar(self.scalar()?)),
            Kind::Object | Kind::Array => self.walk_nested(&mut see)?,
        }
        Ok(start..self.at)
    }

    fn walk_nested(&mut self, see: &mut impl FnMut(Token<'a>)) -> Read<()> {
        let mut open = Brackets::default();
        let mut first = true;
        loop {
            // Within brackets: a comma, a key in an object, or the closing bracket.
            while let Some(object) = open.last() {
                let close = if object { b'}' } else { b']' };
                if self.more(close, &mut first)? {
                    if object {
                        self.key_of(see)?;
                    }
                    break;
                }
                see(Token::Close(close));
                open.pop();
                first = false;
                if open.is_empty() {
                    return Ok(());
                }
            }
            match self.kind()? {
                kind @ (Kind::Object | Kind::Array) => {
                    see(Token::Open(self.text[self.at]));
                    self.at += 1;
                    if !open.push(kind == Kind::Object) {
                        return Err(self.wrong("nested too deep"));
                    }
                    first = true;
                    continue;
                }
                Kind::String => see(Token::String(self.string()?)),
                Kind::Number | Kind::Boolean | Kind::Null => see(Token::Scalar(self.scalar()?)),
            }
            first = false;
        }
    }

    /// Checks that only blanks follow.
    ///
    /// # Errors
    /// [`Misread`] where something else does.
    pub fn end(&mut self) -> Read<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.wrong("something follows the value")),
        }
    }

    /// Takes a number, a boolean or null, and returns its text.
    ///
    /// # Errors
    /// [`Misread`] where there is none.
    pub fn scalar(&mut self) -> Read<&'a [u8]> {
        self.peek();
        let rest = &self.text[self.at..];
        const WORDS: [&[u8]; 6] = [b"true", b"false", b"null", b"NaN", b"Infinity", b"-Infinity"];
        let word = WORDS.iter().find(|word| rest.starts_with(word)).map(|word| word.len());
        let Some(length) = word.or_else(|| number(rest)) else {
            return Err(self.wrong("expected a value"));
        };
        self.at += length;
        match self.text.get(self.at) {
            Some(byte) if byte.is_ascii_alphanumeric() || b"+-._".contains(byte) => Err(self.wrong("expected a value")),
            _ => Ok(&rest[..length]),
        }
    }

    fn key_of(&mut self, see: &mut impl FnMut(Token<'a>)) -> Read<()> {
        if self.peek() != Some(b'"') {
            return Err(self.wrong("expected a key"));
        }
        see(Token::Key(self.string()?));
        self.expect(b':', "expected `:`")
    }

    fn more(&mut self, close: u8, first: &mut bool) -> Read<bool> {
        let first = std::mem::take(first);
        match self.peek() {
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            Some(b',') if !first => {
                self.at += 1;
                match self.peek() {
                    Some(byte) if byte == close => Err(self.wrong("a comma before the end")),
                    _ => Ok(true),
                }
            }
            Some(_) if first => Ok(true),
            _ => Err(self.wrong("expected `,` or the end")),
        }
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Read<()> {
        if self.peek() != Some(byte) {
            return Err(self.wrong(what));
        }
        self.at += 1;
        Ok(())
    }

    /// The next byte that is no blank.
    fn peek(&mut self) -> Option<u8> {
        while let Some(&byte) = self.text.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    fn wrong(&self, what: &'static str) -> Misread {
        let what = if self.at >= self.text.len() { "EOF while parsing" } else { what };
        Misread { what, at: self.at }
    }
}

/// The length of the number that `text` begins with.
fn number(text: &[u8]) -> Option<usize> {
    let digits = |at: usize| text[at.min(text.len())..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(text.first() == Some(&b'-'));
    let whole = digits(at);
    if whole == 0 || whole > 1 && text[at] == b'0' {
        return None;
    }
    at += whole;
    if text.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        at += if fraction > 0 { 1 + fraction } else { 0 };
    }
    if let Some(b'e' | b'E') = text.get(at) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at + 1 + sign);
        at += if exponent > 0 { 1 + sign + exponent } else { 0 };
    }
    Some(at)
}

// === impl Kind ===

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Object => "an object",
            Self::Array => "an array",
            Self::String => "a string",
            Self::Boolean => "a boolean",
            Self::Null => "null",
            Self::Number => "a number",
        })
    }
}

// === impl Misread ===

impl fmt::Display for Misread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

#[cfg(test)]
#[path = "cursor_tests.rs"]
pub(in crate::dialect) mod tests;
